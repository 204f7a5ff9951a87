//! LayerNorm (Ba et al. 2016, arXiv 1607.06450) of rows in a thread's own memory, forward and
//! backward: `y = γ x̂ + β` with `x̂ = (x − mean) / √(variance + ε)`.

use fearless_simd::prelude::*;

use crate::matrix::{Matrix, step};
use crate::real::{Lanes, Real, load, splat, store};

/// A LayerNorm's parameters, one number a feature.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a, T> {
    /// γ
    pub gamma: &'a [T],
    /// β
    pub beta: &'a [T],
    /// ε, added to the variance.
    pub epsilon: f64,
}

/// Where gradients of a LayerNorm's parameters go.
#[derive(Debug)]
pub struct NormGradients<'a, T> {
    /// Of γ.
    pub gamma: &'a mut [T],
    /// Of β.
    pub beta: &'a mut [T],
}

/// A LayerNorm whose parameters are filled up with zeros to whole vectors.
pub(crate) struct PaddedNorm<T> {
    gamma: Vec<T>,
    beta: Vec<T>,
    width: usize,
    epsilon: T,
}

impl<T: Real> PaddedNorm<T> {
    pub fn new(norm: &Norm<'_, T>) -> Self {
        let width = norm.gamma.len();
        assert_eq!(width, norm.beta.len(), "γ and β of a LayerNorm");
        let padded = |values: &[T]| {
            let mut padded = values.to_vec();
            padded.resize(step::<T>(width), T::ZERO);
            padded
        };
        Self {
            gamma: padded(norm.gamma),
            beta: padded(norm.beta),
            width,
            epsilon: T::from_f64(norm.epsilon),
        }
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Turns rows into their `x̂` where they are, and gives each row's `1/√(variance + ε)`. Padding
    /// stays 0.
    #[inline(always)]
    pub fn standardize<S: Simd>(
        &self,
        simd: S,
        rows: &mut [T],
        step: usize,
        inverse_deviations: &mut [T],
    ) {
        let lanes = Lanes::<S, T>::LEN;
        let width = self.width;
        let share = T::from_f64(1.0 / width as f64);
        for (i, inverse) in inverse_deviations.iter_mut().enumerate() {
            let row = &mut rows[i * step..][..width.next_multiple_of(lanes)];
            let mean = sum::<S, T>(simd, row) * share;
            for x in row.chunks_exact_mut(lanes) {
                store::<S, T>(load::<S, T>(simd, x) - mean, x);
            }
            row[width..].fill(T::ZERO);
            let mut squares = splat::<S, T>(simd, T::ZERO);
            for x in row.chunks_exact(lanes) {
                let x = load::<S, T>(simd, x);
                squares = x.mul_add(x, squares);
            }
            let variance = squares.reduce_sum() * share;
            *inverse = T::ONE / (variance + self.epsilon).sqrt();
            for x in row.chunks_exact_mut(lanes) {
                store::<S, T>(load::<S, T>(simd, x) * *inverse, x);
            }
        }
    }

    /// `γ x̂ + β`; `to` may have the same rows.
    #[inline(always)]
    pub fn scale<S: Simd>(
        &self,
        simd: S,
        standardized: Matrix<'_, T>,
        to: &mut [T],
        to_step: usize,
        count: usize,
    ) {
        let lanes = Lanes::<S, T>::LEN;
        for column in (0..self.width).step_by(lanes) {
            let gamma = load::<S, T>(simd, &self.gamma[column..]);
            let beta = load::<S, T>(simd, &self.beta[column..]);
            for i in 0..count {
                let x = load::<S, T>(simd, &standardized.data[i * standardized.step + column..]);
                store::<S, T>(x.mul_add(gamma, beta), &mut to[i * to_step + column..]);
            }
        }
    }

    /// LayerNorm of rows, where they are.
    #[inline(always)]
    pub fn normalize<S: Simd>(
        &self,
        simd: S,
        rows: &mut [T],
        step: usize,
        inverse_deviations: &mut [T],
    ) {
        let lanes = Lanes::<S, T>::LEN;
        self.standardize(simd, rows, step, inverse_deviations);
        for i in 0..inverse_deviations.len() {
            for column in (0..self.width).step_by(lanes) {
                let gamma = load::<S, T>(simd, &self.gamma[column..]);
                let beta = load::<S, T>(simd, &self.beta[column..]);
                let x = &mut rows[i * step + column..];
                store::<S, T>(load::<S, T>(simd, x).mul_add(gamma, beta), x);
            }
        }
    }

    /// Turns gradients of the outputs into gradients of the inputs where they are, and adds the
    /// parameters' to `d_gamma` and `d_beta` (padded as the rows are):
    /// `dx = (g − mean g − x̂ · mean(g x̂)) / √(variance + ε)` with `g = γ dy`.
    #[inline(always)]
    pub fn backward<S: Simd>(
        &self,
        simd: S,
        d_rows: &mut [T],
        d_step: usize,
        standardized: Matrix<'_, T>,
        inverse_deviations: &[T],
        [d_gamma, d_beta]: [&mut [T]; 2],
    ) {
        let lanes = Lanes::<S, T>::LEN;
        let width = self.width;
        let columns = width.next_multiple_of(lanes);
        for column in (0..columns).step_by(lanes) {
            let mut gamma = load::<S, T>(simd, &d_gamma[column..]);
            let mut beta = load::<S, T>(simd, &d_beta[column..]);
            for i in 0..inverse_deviations.len() {
                let dy = load::<S, T>(simd, &d_rows[i * d_step + column..]);
                let x = load::<S, T>(simd, &standardized.data[i * standardized.step + column..]);
                gamma = dy.mul_add(x, gamma);
                beta += dy;
            }
            store::<S, T>(gamma, &mut d_gamma[column..]);
            store::<S, T>(beta, &mut d_beta[column..]);
        }
        let share = T::from_f64(1.0 / width as f64);
        for (i, &inverse) in inverse_deviations.iter().enumerate() {
            let row = &mut d_rows[i * d_step..][..columns];
            let x = &standardized.data[i * standardized.step..][..columns];
            let mut sum = splat::<S, T>(simd, T::ZERO);
            let mut with_x = sum;
            for column in (0..columns).step_by(lanes) {
                let gamma = load::<S, T>(simd, &self.gamma[column..]);
                let g = load::<S, T>(simd, &row[column..]) * gamma;
                sum += g;
                with_x = g.mul_add(load::<S, T>(simd, &x[column..]), with_x);
            }
            let mean = splat::<S, T>(simd, sum.reduce_sum() * share);
            let mean_with_x = splat::<S, T>(simd, with_x.reduce_sum() * share);
            for column in (0..columns).step_by(lanes) {
                let gamma = load::<S, T>(simd, &self.gamma[column..]);
                let g = load::<S, T>(simd, &row[column..]) * gamma;
                let x = load::<S, T>(simd, &x[column..]);
                let dx = (g - mean - x * mean_with_x) * inverse;
                store::<S, T>(dx, &mut row[column..]);
            }
            row[width..].fill(T::ZERO);
        }
    }
}

#[inline(always)]
fn sum<S: Simd, T: Real>(simd: S, row: &[T]) -> T {
    let lanes = Lanes::<S, T>::LEN;
    let mut sum = splat::<S, T>(simd, T::ZERO);
    for x in row.chunks_exact(lanes) {
        sum += load::<S, T>(simd, x);
    }
    sum.reduce_sum()
}
