//! What attention reads of every token: queries, keys, values and landmark scores, in one pass.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::layers::{Linear, ROWS, Stack, pad, parts, parts_mut, unpad};
use crate::matrix::{Matrix, Start, product, step};
use crate::norm::{Norm, PaddedNorm};
use crate::real::Real;
use crate::tile::Scratch;

/// Inputs of [`heads`]: `rows` of width `D` and the layers that read them.
///
/// ```text
/// X̂ = LN(X),   Q = X̂ W_q + b_q,   K = LN_win(X̂ W_k + b_k),   V = LN_win(X̂ W_v + b_v)
/// scores = X̂ W_p + b_p
/// ```
///
/// Either norm may be left out.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a, T> {
    /// `X [rows, D]`
    pub x: &'a [T],
    /// `LN`
    pub norm: Option<Norm<'a, T>>,
    /// `D` → `D`
    pub query: Linear<'a, T>,
    /// `D` → `D`
    pub key: Linear<'a, T>,
    /// `D` → `D`
    pub value: Linear<'a, T>,
    /// `D` → heads · rank; none at rank 0.
    pub projection: Option<Linear<'a, T>>,
    /// `LN_win`
    pub window_norm: Option<Norm<'a, T>>,
}

/// Outputs of [`heads`], all written whole.
#[derive(Debug)]
pub struct HeadsOutput<'a, T> {
    /// `[rows, D]`
    pub query: &'a mut [T],
    /// `[rows, D]`
    pub key: &'a mut [T],
    /// `[rows, D]`
    pub value: &'a mut [T],
    /// `[rows, heads · rank]`; empty without a projection.
    pub scores: &'a mut [T],
}

impl<T: Real> Heads<'_, T> {
    /// `D`
    pub(crate) fn width(&self) -> usize {
        self.query.bias.len()
    }

    pub(crate) fn rows(&self) -> usize {
        self.x.len() / self.width()
    }

    /// heads · rank
    pub(crate) fn scores(&self) -> usize {
        self.projection.map_or(0, |layer| layer.bias.len())
    }

    /// `LN`, `LN_win`.
    pub(crate) fn norms(&self) -> [Option<PaddedNorm<T>>; 2] {
        [&self.norm, &self.window_norm].map(|norm| {
            let norm = norm.as_ref()?;
            assert_eq!(
                norm.gamma.len(),
                self.width(),
                "LayerNorms are as wide as X"
            );
            Some(PaddedNorm::new(norm))
        })
    }

    /// Query, key, value, scores.
    pub(crate) fn stack(&self, backward: bool) -> Stack<T> {
        let width = self.width();
        for layer in [&self.query, &self.key, &self.value] {
            assert_eq!(
                layer.bias.len(),
                width,
                "queries, keys and values are as wide as X"
            );
        }
        let none = Linear {
            weight: &[],
            bias: &[],
        };
        let projection = self.projection.unwrap_or(none);
        let layers = [&self.query, &self.key, &self.value, &projection];
        Stack::new(width, &layers, backward)
    }
}

/// Queries, keys, values and landmark scores of every row.
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
pub fn heads<T: Real>(inputs: &Heads<'_, T>, output: &mut HeadsOutput<'_, T>) {
    let (width, rows, scores) = (inputs.width(), inputs.rows(), inputs.scores());
    let stack = inputs.stack(false);
    let norms = inputs.norms();
    let level = Level::new();
    let mut tasks: Vec<_> = parts(inputs.x, width, rows)
        .into_iter()
        .zip(parts_mut(output.query, width, rows))
        .zip(parts_mut(output.key, width, rows))
        .zip(parts_mut(output.value, width, rows))
        .zip(parts_mut(output.scores, scores, rows))
        .collect();
    tasks.par_iter_mut().for_each_init(
        Default::default,
        |memory, ((((x, query), key), value), scores)| {
            let outputs = [&mut **query, &mut **key, &mut **value, &mut **scores];
            dispatch!(level, simd => part(simd, x, &stack, &norms, outputs, memory));
        },
    );
}

#[inline(always)]
fn part<S: Simd, T: Real>(
    simd: S,
    x: &[T],
    stack: &Stack<T>,
    [norm, window_norm]: &[Option<PaddedNorm<T>>; 2],
    mut outputs: [&mut [T]; 4],
    (x_memory, y_memory): &mut (Scratch<T>, Scratch<T>),
) {
    let width = stack.inputs;
    let (x_step, y_step) = (step::<T>(width), step::<T>(stack.columns));
    let normed = x_memory.take(ROWS * x_step);
    let y = y_memory.take(ROWS * y_step);
    let mut inverse = [T::ZERO; ROWS];
    for (tile, x) in x.chunks(ROWS * width).enumerate() {
        let count = x.len() / width;
        let inverse = &mut inverse[..count];
        pad(simd, x, width, normed, x_step);
        if let Some(norm) = norm {
            simd.vectorize(
                #[inline(always)]
                || norm.normalize(simd, normed, x_step, inverse),
            );
        }
        let sizes = [count, stack.columns, width];
        let bias = Start::Row(&stack.bias);
        let left = Matrix::padded(normed, width);
        product::<S, T, false>(simd, left, stack.weight(), bias, y, y_step, sizes);
        if let Some(norm) = window_norm {
            simd.vectorize(
                #[inline(always)]
                || {
                    for layer in [1, 2] {
                        norm.normalize(simd, &mut y[stack.place(layer).0..], y_step, inverse);
                    }
                },
            );
        }
        for (layer, output) in outputs.iter_mut().enumerate() {
            let (first, width) = stack.place(layer);
            let to = &mut output[tile * ROWS * width..][..count * width];
            unpad(
                simd,
                Matrix::padded(y, stack.columns).skip_columns(first),
                width,
                to,
            );
        }
    }
}
