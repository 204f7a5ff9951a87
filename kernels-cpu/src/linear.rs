//! A linear layer of a few rows, as decoding asks it.
//!
//! It takes as long as reading its weight does, which is therefore read once, in the order in which it
//! lies, for all rows: nothing is packed beforehand.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::layers::add;
use crate::matrix::{line, prefetch};
use crate::parallel::*;
use crate::real::{Lanes, Real, load, splat, store};

/// The most rows that [`linear`] is made for.
pub const FEW_ROWS: usize = 8;

/// Rows of the weight that are read side by side.
const SIDE_BY_SIDE: usize = 8;

/// Columns that are worked on at once: their part of so many rows of a weight stays in a core's first
/// cache, for the other rows of `x`.
const COLUMNS: usize = 512;

/// The number of products from which on waking other threads pays.
const LARGE: usize = 1 << 19;

/// `added + (x W + b)` of a few rows.
///
/// # Shapes
///
/// All row-major.
///
/// - x: `[rows, inputs]`; weight: `[inputs, outputs]`; bias: `[outputs]`
/// - added and `to`, all of which is written: `[rows, outputs]`
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
pub fn linear<T: Real>(
    x: &[T],
    weight: &[T],
    [inputs, outputs]: [usize; 2],
    bias: Option<&[T]>,
    added: Option<&[T]>,
    to: &mut [T],
) {
    assert_eq!(
        weight.len(),
        inputs * outputs,
        "weight is [inputs, outputs]"
    );
    let rows = to.len() / outputs.max(1);
    assert_eq!(to.len(), rows * outputs, "to is [rows, outputs]");
    if let Some(bias) = bias {
        assert_eq!(bias.len(), outputs, "bias is [outputs]");
    }
    if let Some(added) = added {
        assert_eq!(added.len(), to.len(), "added is [rows, outputs]");
    }
    if to.is_empty() {
        return;
    }
    assert_eq!(x.len(), rows * inputs, "x is [rows, inputs]");
    let level = Level::new();
    let block = |first: usize, to: &mut [&mut [T]]| {
        let weight = &weight[first..];
        dispatch!(level, simd => products(simd, x, weight, [inputs, outputs], to));
        for (row, to) in to.iter_mut().enumerate() {
            let columns = first..first + to.len();
            if let Some(bias) = bias {
                dispatch!(level, simd => add(simd, &bias[columns.clone()], to));
            }
            if let Some(added) = added {
                let added = &added[row * outputs..][columns];
                dispatch!(level, simd => add(simd, added, to));
            }
        }
    };
    let mut blocks = blocks(to, outputs);
    match rows * weight.len() >= LARGE {
        true => {
            let blocks = blocks.par_iter_mut().enumerate();
            blocks.for_each(|(number, to)| block(number * COLUMNS, to));
        }
        false => {
            let blocks = blocks.iter_mut().enumerate();
            blocks.for_each(|(number, to)| block(number * COLUMNS, to));
        }
    }
}

/// The rows of each block of columns.
fn blocks<T>(to: &mut [T], outputs: usize) -> Vec<Vec<&mut [T]>> {
    let mut blocks: Vec<Vec<&mut [T]>> = Vec::new();
    blocks.resize_with(outputs.div_ceil(COLUMNS), Vec::new);
    for row in to.chunks_exact_mut(outputs) {
        for (block, columns) in blocks.iter_mut().zip(row.chunks_mut(COLUMNS)) {
            block.push(columns);
        }
    }
    blocks
}

/// Writes `x W` of some columns, those at which a weight `[inputs, step]` begins.
#[inline(always)]
fn products<S: Simd, T: Real>(
    simd: S,
    x: &[T],
    weight: &[T],
    [inputs, step]: [usize; 2],
    to: &mut [&mut [T]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            to.iter_mut().for_each(|to| to.fill(T::ZERO));
            let whole = inputs - inputs % SIDE_BY_SIDE;
            for input in (0..whole).step_by(SIDE_BY_SIDE) {
                let weight = &weight[input * step..];
                for (row, to) in to.iter_mut().enumerate() {
                    let x = &x[row * inputs + input..];
                    add_rows::<S, T, SIDE_BY_SIDE>(simd, x, weight, step, to);
                }
            }
            for input in whole..inputs {
                let weight = &weight[input * step..];
                for (row, to) in to.iter_mut().enumerate() {
                    let x = &x[row * inputs + input..];
                    add_rows::<S, T, 1>(simd, x, weight, step, to);
                }
            }
        },
    );
}

/// `to += Σ_k factors[k] · rows[k]` of the first `K`.
#[inline(always)]
fn add_rows<S: Simd, T: Real, const K: usize>(
    simd: S,
    factors: &[T],
    rows: &[T],
    step: usize,
    to: &mut [T],
) {
    let lanes = Lanes::<S, T>::LEN;
    let whole = to.len() - to.len() % lanes;
    let mut own: [&[T]; K] = [&[]; K];
    let mut spread = [splat::<S, T>(simd, T::ZERO); K];
    for k in 0..K {
        own[k] = &rows[k * step..][..to.len()];
        spread[k] = splat::<S, T>(simd, factors[k]);
    }
    for at in (0..whole).step_by(lanes) {
        if at % line::<T>() == 0 {
            // The rows after these: caches that others use as well may not have them any more.
            for k in K..2 * K {
                if let Some(next) = rows.get(k * step + at) {
                    prefetch(next);
                }
            }
        }
        let mut sum = load::<S, T>(simd, &to[at..]);
        for k in 0..K {
            sum = load::<S, T>(simd, &own[k][at..]).mul_add(spread[k], sum);
        }
        store::<S, T>(sum, &mut to[at..]);
    }
    for at in whole..to.len() {
        for k in 0..K {
            to[at] += factors[k] * own[k][at];
        }
    }
}
