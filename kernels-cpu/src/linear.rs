//! A linear layer of a few rows, as decoding asks it.
//!
//! It takes as long as reading its weight does, which is therefore read once, in the order in which it
//! lies, for all rows: nothing is packed beforehand.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::layers::add;
use crate::parallel::*;
use crate::real::{Lanes, Real, load, splat, store};

/// Rows up to which [`linear`] is quicker than products of tiles.
pub const FEW_ROWS: usize = 8;

/// Rows of the weight that are read side by side.
const SIDE_BY_SIDE: usize = 8;

/// Numbers of a weight from which on two threads read it sooner than one wakes another.
const LARGE: usize = 1 << 19;

/// `x W + b` of a few rows, added to `added`.
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
    if outputs == 0 {
        return;
    }
    let rows = to.len() / outputs;
    assert_eq!(to.len(), rows * outputs, "to is [rows, outputs]");
    assert_eq!(x.len(), rows * inputs, "x is [rows, inputs]");
    match added {
        Some(added) => to.copy_from_slice(added),
        None => to.fill(T::ZERO),
    }
    let level = Level::new();
    if let Some(bias) = bias {
        assert_eq!(bias.len(), outputs, "bias is [outputs]");
        for to in to.chunks_exact_mut(outputs) {
            dispatch!(level, simd => add(simd, bias, to));
        }
    }
    let columns = |first: usize, to: &mut [T]| {
        dispatch!(level, simd => add_products(simd, x, &weight[first..], [inputs, outputs], to));
    };
    match rows == 1 && weight.len() >= LARGE {
        true => {
            let part = outputs.div_ceil(2).next_multiple_of(64);
            let parts = to.par_chunks_mut(part).enumerate();
            parts.for_each(|(number, to)| columns(number * part, to));
        }
        false => columns(0, to),
    }
}

/// `to += x W`, of the first columns of a weight `[inputs, step]`: all `step` of them, or fewer of a
/// single row.
#[inline(always)]
fn add_products<S: Simd, T: Real>(
    simd: S,
    x: &[T],
    weight: &[T],
    [inputs, step]: [usize; 2],
    to: &mut [T],
) {
    let columns = to.len().min(step);
    simd.vectorize(
        #[inline(always)]
        || {
            let mut input = 0;
            while input < inputs {
                let weight = &weight[input * step..];
                let count = match inputs - input {
                    SIDE_BY_SIDE.. => SIDE_BY_SIDE,
                    _ => 1,
                };
                for (x, to) in x.chunks_exact(inputs).zip(to.chunks_exact_mut(columns)) {
                    let x = &x[input..];
                    match count {
                        SIDE_BY_SIDE => add_rows::<S, T, SIDE_BY_SIDE>(simd, x, weight, step, to),
                        _ => add_rows::<S, T, 1>(simd, x, weight, step, to),
                    }
                }
                input += count;
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
