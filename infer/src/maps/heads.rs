//! One head's numbers, cut out of its layer's.

use burn::tensor::TensorData;

use super::LayerMaps;
use super::matrix::Matrix;

/// What one head attends to in a document of `n` tokens.
pub struct Head<'a> {
    /// `[n, n]`
    pub window: Matrix<'a>,
    /// `[n, r]`; no columns where there are no landmarks of tokens.
    pub landmarks: Matrix<'a>,
    /// The share that each query gives the class row, `[n]`.
    pub class_landmark: Option<Vec<f32>>,
    /// `[r, n]`
    pub projection: Matrix<'a>,
    /// The class row's shares: its own first, `[1 + n]`.
    pub class_row: Option<Vec<f32>>,
}

impl<'a> Head<'a> {
    pub fn of(layer: &'a LayerMaps, head: usize) -> Self {
        let class_row = layer
            .class_row
            .as_ref()
            .map(|data| part(data, head).values.into_owned());
        let none = Matrix::default();
        let mut landmarks =
            (layer.landmarks.as_ref()).map_or(none.clone(), |data| part(data, head));
        let mut class_landmark = None;
        if class_row.is_some() {
            let rows = landmarks.values.chunks(landmarks.columns);
            class_landmark = Some(rows.clone().map(|row| row[0]).collect());
            let others = rows.flat_map(|row| &row[1..]).copied().collect();
            landmarks = Matrix::new(landmarks.columns - 1, others);
        }
        Self {
            window: part(&layer.window, head),
            landmarks,
            class_landmark,
            projection: (layer.projection.as_ref()).map_or(none, |data| part(data, head)),
            class_row,
        }
    }

    /// The share that each token is given by the mean query: through the window, and through the
    /// landmarks, by its weight in them.
    pub fn attended(&self) -> [Vec<f32>; 2] {
        let n = self.window.columns;
        let mut window = vec![0.0; n];
        for row in 0..n {
            add(&mut window, 1.0, self.window.row(row));
        }
        let mut landmarks = vec![0.0; n];
        for landmark in 0..self.projection.rows() {
            let share = (0..n).map(|row| self.landmarks.row(row)[landmark]).sum();
            add(&mut landmarks, share, self.projection.row(landmark));
        }
        // Padded queries give nothing, and don't count.
        let given = |matrix: &Matrix| matrix.values.iter().sum::<f32>();
        let class_row: f32 = self.class_landmark.iter().flatten().sum();
        let queries = given(&self.window) + given(&self.landmarks) + class_row;
        [window, landmarks].map(|shares| {
            let mean = shares
                .into_iter()
                .map(|share: f32| share / queries.max(1.0));
            mean.collect()
        })
    }
}

fn add(to: &mut [f32], factor: f32, row: &[f32]) {
    for (to, x) in to.iter_mut().zip(row) {
        *to += factor * x;
    }
}

/// The head's part of `[h, …, columns]`.
fn part(data: &TensorData, head: usize) -> Matrix<'_> {
    let shape = data.shape().to_vec();
    let count: usize = shape[1..].iter().product();
    let values = data.as_slice::<f32>().expect("float32");
    Matrix {
        columns: shape[shape.len() - 1],
        values: values[head * count..][..count].into(),
    }
}
