//! Tensors, batches and numbers that the tests share.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod attend;
pub mod dense;

use transformer_ls_kernels::Boundaries;
use transformer_ls_kernels_cpu::{Documents, Real, View, ViewMut};

/// A tensor in row-major order, in float64.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: [usize; 4],
    pub data: Vec<f64>,
}

impl Tensor {
    pub fn zeros(shape: [usize; 4]) -> Self {
        Self {
            shape,
            data: vec![0.0; shape.iter().product()],
        }
    }

    /// Numbers in `[−amplitude, amplitude)` that float32 holds exactly.
    pub fn random(shape: [usize; 4], amplitude: f64, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let mut tensor = Self::zeros(shape);
        for x in &mut tensor.data {
            *x = f64::from((amplitude * (2.0 * numbers.unit() - 1.0)) as f32);
        }
        tensor
    }

    pub fn index(&self, [a, b, c, d]: [usize; 4]) -> usize {
        let [_, m, n, o] = self.shape;
        ((a * m + b) * n + c) * o + d
    }

    pub fn at(&self, index: [usize; 4]) -> f64 {
        self.data[self.index(index)]
    }

    pub fn at_mut(&mut self, index: [usize; 4]) -> &mut f64 {
        let index = self.index(index);
        &mut self.data[index]
    }

    pub fn row(&self, [a, b, c]: [usize; 3]) -> &[f64] {
        let start = self.index([a, b, c, 0]);
        &self.data[start..start + self.shape[3]]
    }

    pub fn add_to_row(&mut self, [a, b, c]: [usize; 3], factor: f64, row: &[f64]) {
        let start = self.index([a, b, c, 0]);
        for (to, from) in self.data[start..].iter_mut().zip(row) {
            *to += factor * from;
        }
    }

    pub fn indices(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let [m, n, o, p] = self.shape;
        (0..m * n * o * p).map(move |i| [i / (n * o * p), i / (o * p) % n, i / p % o, i % p])
    }

    /// Largest difference to another, as a share of the other's largest number.
    pub fn error(&self, exact: &Self) -> f64 {
        assert_eq!(self.shape, exact.shape);
        let largest = |x: &mut dyn Iterator<Item = f64>| {
            x.fold(0.0, |a: f64, b| if b.abs() <= a { a } else { b.abs() })
        };
        let pairs = self.data.iter().zip(&exact.data);
        let difference = largest(&mut pairs.map(|(a, b)| a - b));
        let scale = largest(&mut exact.data.iter().copied());
        match difference == 0.0 {
            true => 0.0,
            false => difference / scale.max(1e-30),
        }
    }
}

/// SplitMix64.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How a tensor lies in memory: its dimensions from the outermost to the innermost, with unused
/// elements after each row.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLayout {
    pub order: [usize; 4],
    pub gap: usize,
}

impl MemoryLayout {
    pub const ROW_MAJOR: Self = Self {
        order: [0, 1, 2, 3],
        gap: 0,
    };
    /// Memory `[b, n, h, d]` of a tensor `[b, h, n, d]`.
    pub const HEADS_SIDE_BY_SIDE: Self = Self {
        order: [0, 2, 1, 3],
        gap: 0,
    };
    /// Memory `[b, n, h, r]` of scores `[b, h, r, n]`.
    pub const LANDMARKS_SIDE_BY_SIDE: Self = Self {
        order: [0, 3, 1, 2],
        gap: 0,
    };
    pub const GAPS: Self = Self {
        order: [2, 0, 1, 3],
        gap: 3,
    };

    pub fn strides(&self, shape: [usize; 4]) -> [usize; 4] {
        let mut strides = [0; 4];
        let mut step = 1;
        for (place, dimension) in self.order.into_iter().rev().enumerate() {
            strides[dimension] = step;
            step *= shape[dimension];
            if place == 0 {
                step += self.gap;
            }
        }
        strides
    }

    pub fn len(&self, shape: [usize; 4]) -> usize {
        let strides = self.strides(shape);
        let last = |i: usize| shape[i].saturating_sub(1) * strides[i];
        match shape.contains(&0) {
            true => 0,
            false => 1 + (0..4).map(last).sum::<usize>(),
        }
    }
}

/// A tensor as it lies in memory.
pub struct Memory<T> {
    data: Vec<T>,
    shape: [usize; 4],
    strides: [usize; 4],
}

impl<T: Real> Memory<T> {
    pub fn of(tensor: &Tensor, layout: MemoryLayout) -> Self {
        let mut memory = Self::unwritten(tensor.shape, layout);
        for index in tensor.indices() {
            let place: usize = (0..4).map(|i| index[i] * memory.strides[i]).sum();
            memory.data[place] = T::from_f64(tensor.at(index));
        }
        memory
    }

    /// NaN everywhere, so that what a kernel forgets to write shows.
    pub fn unwritten(shape: [usize; 4], layout: MemoryLayout) -> Self {
        Self {
            data: vec![T::from_f64(f64::NAN); layout.len(shape)],
            shape,
            strides: layout.strides(shape),
        }
    }

    pub fn view(&self) -> View<'_, T> {
        View::new(&self.data, self.shape, self.strides)
    }

    pub fn view_mut(&mut self) -> ViewMut<'_, T> {
        ViewMut::new(&mut self.data, self.shape, self.strides)
    }

    pub fn tensor(&self) -> Tensor {
        let mut tensor = Tensor::zeros(self.shape);
        let view = self.view();
        for index in tensor.indices() {
            *tensor.at_mut(index) = view.at(index).to_f64();
        }
        tensor
    }
}

/// How documents lie, owned.
#[derive(Clone, Debug)]
pub enum Batch {
    Full,
    Padded(Vec<u8>),
    Packed(Boundaries),
}

impl Batch {
    /// Rows whose first tokens are real, as many as `lengths` says.
    pub fn of_lengths(lengths: &[usize], n: usize) -> Self {
        let row = |&length: &usize| (0..n).map(move |token| u8::from(token < length));
        Self::Padded(lengths.iter().flat_map(row).collect())
    }

    pub fn packed(lengths: &[usize]) -> Self {
        Self::Packed(Boundaries::from_lengths(lengths))
    }

    pub fn documents(&self) -> Documents<'_> {
        match self {
            Self::Full => Documents::Rows { mask: None },
            Self::Padded(mask) => Documents::Rows { mask: Some(mask) },
            Self::Packed(boundaries) => Documents::Packed(boundaries),
        }
    }

    /// Of every document: the row of the batch, and of each token its place there and whether it
    /// is real.
    pub fn list(&self, b: usize, n: usize) -> Vec<(usize, Vec<(usize, bool)>)> {
        match self {
            Self::Full => (0..b)
                .map(|row| (row, (0..n).map(|token| (token, true)).collect()))
                .collect(),
            Self::Padded(mask) => (0..b)
                .map(|row| {
                    let real = |token| (token, mask[row * n + token] != 0);
                    (row, (0..n).map(real).collect())
                })
                .collect(),
            Self::Packed(boundaries) => boundaries
                .ranges()
                .map(|tokens| (0, tokens.map(|token| (token, true)).collect()))
                .collect(),
        }
    }
}

/// Asserts that a kernel's results are as good as those of the dense formulas in the same
/// precision: a result's error is at most twice theirs, a gradient's three times, give or take a
/// few units in the last place, and all that times `slack`.
pub fn assert_close(
    name: &str,
    results: &[(&str, &Tensor)],
    same_precision: &[(&str, &Tensor)],
    exact: &[(&str, &Tensor)],
    epsilon: f64,
    slack: f64,
) {
    assert_eq!(results.len(), exact.len());
    for (((what, result), (_, same)), (_, exact)) in results.iter().zip(same_precision).zip(exact) {
        let times = if what.starts_with("d_") { 3.0 } else { 2.0 };
        let allowed = slack * times * (same.error(exact) + 8.0 * epsilon);
        let error = result.error(exact);
        assert!(
            error <= allowed,
            "{name}: {what}: error {error:e}, allowed {allowed:e}"
        );
    }
}

/// Asserts that a gradient in float64 is the slope of the loss, as finite differences give it, for
/// each number of one part of a case.
pub fn assert_slopes<C>(
    case: &mut C,
    what: &str,
    part: fn(&mut C) -> &mut Tensor,
    gradient: &Tensor,
    loss: impl Fn(&C) -> f64,
) {
    const STEP: f64 = 1e-5;
    for index in gradient.indices() {
        *part(case).at_mut(index) += STEP;
        let above = loss(case);
        *part(case).at_mut(index) -= 2.0 * STEP;
        let below = loss(case);
        *part(case).at_mut(index) += STEP;
        let slope = (above - below) / (2.0 * STEP);
        let gradient = gradient.at(index);
        assert!(
            (slope - gradient).abs() < 1e-8,
            "{what} {index:?}: {slope}, {gradient}"
        );
    }
}

/// The loss whose gradient for `output` is `d_output`.
pub fn inner_product(output: &Tensor, d_output: &Tensor) -> f64 {
    output
        .data
        .iter()
        .zip(&d_output.data)
        .map(|(a, b)| a * b)
        .sum()
}
