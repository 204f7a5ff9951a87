//! Tensors as the kernels take them: a slice, a shape and strides.

use std::marker::PhantomData;

/// A read-only tensor of four dimensions over a slice.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    data: &'a [T],
    shape: [usize; 4],
    strides: [usize; 4],
}

impl<'a, T: Copy> View<'a, T> {
    /// A view of `data` from its first element on; strides are in elements.
    ///
    /// # Panics
    ///
    /// Panics if the view reaches beyond the slice.
    pub fn new(data: &'a [T], shape: [usize; 4], strides: [usize; 4]) -> Self {
        let extent = extent(shape, strides);
        assert!(
            extent <= data.len(),
            "a view of shape {shape:?} with strides {strides:?} needs {extent} elements, the slice has {}",
            data.len()
        );
        Self {
            data,
            shape,
            strides,
        }
    }

    /// A view of a slice that holds the tensor in row-major order.
    ///
    /// # Panics
    ///
    /// Panics if the slice is too short.
    pub fn contiguous(data: &'a [T], shape: [usize; 4]) -> Self {
        Self::new(data, shape, row_major(shape))
    }

    /// The sizes of the four dimensions.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Elements from one index to the next, in each dimension.
    pub fn strides(&self) -> [usize; 4] {
        self.strides
    }

    /// The element `[a, b, c, d]`.
    ///
    /// # Panics
    ///
    /// Panics if it lies outside the slice.
    pub fn at(&self, index: [usize; 4]) -> T {
        self.data[offset(index, self.strides)]
    }

    /// The rows `[a, b, first.., ..]`, whose elements lie side by side.
    #[inline(always)]
    pub(crate) fn rows(&self, a: usize, b: usize, first: usize) -> Rows<'a, T> {
        let offset = offset([a, b, first, 0], self.strides);
        Rows {
            data: &self.data[offset.min(self.data.len())..],
            step: self.strides[2],
            width: self.shape[3],
        }
    }

    /// What is left of the slice from the element `[a, b, c, d]` on.
    #[inline(always)]
    pub(crate) fn tail(&self, index: [usize; 4]) -> &'a [T] {
        &self.data[offset(index, self.strides).min(self.data.len())..]
    }

    pub(crate) fn assert_like(&self, name: &str, shape: [usize; 4]) {
        assert_eq!(self.shape, shape, "the shape of {name}");
        self.assert_rows(name);
    }

    pub(crate) fn assert_rows(&self, name: &str) {
        assert_rows(name, self.shape, self.strides);
    }
}

/// A tensor of four dimensions that a kernel writes, all of it.
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    data: *mut T,
    shape: [usize; 4],
    strides: [usize; 4],
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the view has exclusive use of the slice, as `&'a mut [T]` has, and hands out elements
// only through unsafe functions, whose callers keep rows apart.
unsafe impl<T: Send> Send for ViewMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ViewMut<'_, T> {}

impl<'a, T: Copy> ViewMut<'a, T> {
    /// A view of `data` from its first element on; strides are in elements.
    ///
    /// # Panics
    ///
    /// Panics if the view reaches beyond the slice, or if two indices may mean the same element.
    pub fn new(data: &'a mut [T], shape: [usize; 4], strides: [usize; 4]) -> Self {
        let extent = extent(shape, strides);
        assert!(
            extent <= data.len(),
            "a view of shape {shape:?} with strides {strides:?} needs {extent} elements, the slice has {}",
            data.len()
        );
        let mut dimensions: Vec<_> = strides.into_iter().zip(shape).collect();
        dimensions.sort_unstable();
        let mut reach = 0;
        for (stride, size) in dimensions {
            assert!(
                size <= 1 || stride > reach || extent == 0,
                "shape {shape:?} with strides {strides:?} writes some elements twice"
            );
            reach += stride * size.saturating_sub(1);
        }
        Self {
            data: data.as_mut_ptr(),
            shape,
            strides,
            slice: PhantomData,
        }
    }

    /// A view of a slice that is to hold the tensor in row-major order.
    ///
    /// # Panics
    ///
    /// Panics if the slice is too short.
    pub fn contiguous(data: &'a mut [T], shape: [usize; 4]) -> Self {
        Self::new(data, shape, row_major(shape))
    }

    /// The rows `[a, b, first.., ..]`, `count` of them, whose elements lie side by side.
    #[inline(always)]
    pub(crate) fn rows(&self, a: usize, b: usize, first: usize, count: usize) -> RowsMut<'_, T> {
        let [m, n, o, width] = self.shape;
        assert!(
            a < m && b < n && first + count <= o,
            "rows beyond the shape"
        );
        assert!(self.strides[3] == 1 || width <= 1);
        RowsMut {
            data: self
                .data
                .wrapping_add(offset([a, b, first, 0], self.strides)),
            step: self.strides[2],
            width,
            count,
            view: PhantomData,
        }
    }

    /// Writes `values` to the elements `[a, b, c.., d]`.
    ///
    /// # Safety
    ///
    /// No reference to these elements may be alive, and no other thread may write them.
    #[inline(always)]
    pub(crate) unsafe fn write_along_third(&self, [a, b, c, d]: [usize; 4], values: &[T]) {
        let last = [a, b, (c + values.len()).saturating_sub(1), d];
        for (index, size) in last.into_iter().zip(self.shape) {
            assert!(index < size, "an index beyond shape {:?}", self.shape);
        }
        let step = self.strides[2];
        // SAFETY: the first index and the last are inside the shape, so all are, and `new` found
        // the shape inside the slice; the caller keeps others away from the elements.
        unsafe {
            let to = self.data.add(offset([a, b, c, d], self.strides));
            if step == 1 {
                to.copy_from_nonoverlapping(values.as_ptr(), values.len());
            } else {
                for (i, value) in values.iter().enumerate() {
                    to.add(i * step).write(*value);
                }
            }
        }
    }

    pub(crate) fn assert_shape(&self, name: &str, shape: [usize; 4]) {
        assert_eq!(self.shape, shape, "the shape of {name}");
    }

    pub(crate) fn assert_like(&self, name: &str, shape: [usize; 4]) {
        self.assert_shape(name, shape);
        assert_rows(name, self.shape, self.strides);
    }
}

/// Rows at equal distances: row `i` is `data[i·step..][..width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, T> {
    pub data: &'a [T],
    pub step: usize,
    pub width: usize,
}

impl<'a, T> Rows<'a, T> {
    #[inline(always)]
    pub fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.step..][..self.width]
    }

    /// The rows from `first` on.
    #[inline(always)]
    pub fn from(&self, first: usize) -> Self {
        let offset = (first * self.step).min(self.data.len());
        Self {
            data: &self.data[offset..],
            ..*self
        }
    }
}

/// Rows of a [`ViewMut`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowsMut<'a, T> {
    data: *mut T,
    step: usize,
    width: usize,
    count: usize,
    view: PhantomData<&'a T>,
}

impl<'a, T> RowsMut<'a, T> {
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Row `i`.
    ///
    /// # Safety
    ///
    /// No other reference to this row may be alive.
    #[inline(always)]
    pub unsafe fn row(&self, i: usize) -> &'a mut [T] {
        assert!(i < self.count);
        // SAFETY: `rows` found all rows inside the shape of the view, which lies inside its slice
        // with every element in one row only; the caller holds no other reference to this row.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.step), self.width) }
    }

    /// Writes zeros to all rows.
    ///
    /// # Safety
    ///
    /// No reference to any of the rows may be alive.
    #[inline(always)]
    pub unsafe fn clear(&self)
    where
        T: Default + Clone,
    {
        for i in 0..self.count {
            // SAFETY: the caller holds no reference to the row.
            unsafe { self.row(i) }.fill(T::default());
        }
    }
}

fn row_major(shape: [usize; 4]) -> [usize; 4] {
    let [_, b, c, d] = shape;
    [b * c * d, c * d, d, 1]
}

#[inline(always)]
fn offset(index: [usize; 4], strides: [usize; 4]) -> usize {
    index.into_iter().zip(strides).map(|(i, s)| i * s).sum()
}

/// Elements from the first to the last, both included.
fn extent(shape: [usize; 4], strides: [usize; 4]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    1 + shape
        .into_iter()
        .zip(strides)
        .map(|(size, stride)| (size - 1).saturating_mul(stride))
        .fold(0, usize::saturating_add)
}

fn assert_rows(name: &str, shape: [usize; 4], strides: [usize; 4]) {
    assert!(
        shape[3] <= 1 || strides[3] == 1,
        "the last dimension of {name} must lie side by side, its stride is {}",
        strides[3]
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permuted_view_reads_what_it_means() {
        // Memory [n = 3, h = 2, d = 2].
        let data: Vec<u32> = (0..12).collect();
        let view = View::new(&data, [1, 2, 3, 2], [12, 2, 4, 1]);
        assert_eq!(view.at([0, 1, 2, 0]), 10);
        assert_eq!(view.rows(0, 1, 1).row(1), [10, 11]);
    }

    #[test]
    #[should_panic(expected = "needs 14 elements")]
    fn a_view_beyond_its_slice_is_refused() {
        View::new(&[0.0; 12], [1, 2, 3, 2], [12, 3, 4, 2]);
    }

    #[test]
    #[should_panic(expected = "writes some elements twice")]
    fn overlapping_outputs_are_refused() {
        ViewMut::new(&mut [0.0; 12], [1, 2, 3, 2], [0, 1, 2, 1]);
    }

    #[test]
    fn an_empty_tensor_is_a_view() {
        ViewMut::contiguous(&mut [0.0; 0], [3, 0, 2, 2]);
        assert_eq!(
            View::<f32>::contiguous(&[], [0, 1, 2, 3]).shape(),
            [0, 1, 2, 3]
        );
    }
}
