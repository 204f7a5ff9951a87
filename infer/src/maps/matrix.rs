//! Numbers in rows and columns.

use std::borrow::Cow;

/// Numbers in rows and columns, row by row. Those of a long document are not copied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix<'a> {
    pub columns: usize,
    pub values: Cow<'a, [f32]>,
}

impl Matrix<'_> {
    pub fn new(columns: usize, values: Vec<f32>) -> Self {
        let values = values.into();
        Self { columns, values }
    }

    pub fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    pub fn largest(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    /// The largest value of each block of so many rows and columns.
    pub fn blocks(&self, rows: usize, columns: usize) -> Matrix<'static> {
        let width = self.columns.div_ceil(columns);
        let mut values = vec![0.0_f32; self.rows().div_ceil(rows) * width];
        for row in 0..self.rows() {
            for (column, &value) in self.row(row).iter().enumerate() {
                let block = &mut values[row / rows * width + column / columns];
                *block = block.max(value);
            }
        }
        Matrix::new(width, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_largest_value() {
        let values = vec![1.0, 2.0, 3.0, 4.0, 0.0, 6.0, 7.0, 8.0, 5.0];
        let matrix = Matrix::new(3, values);
        let blocks = matrix.blocks(2, 2);
        assert_eq!((blocks.columns, blocks.rows()), (2, 2));
        assert_eq!(*blocks.values, [4.0, 6.0, 8.0, 5.0]);
        assert_eq!(matrix.blocks(1, 1), matrix);
    }
}
