//! LayerNorm (Ba et al. 2016, arXiv 1607.06450) of a batch's rows as an operation of its own.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::layers::{ROWS, add, add_up, pad, parts, parts_mut, sums_of_parts, unpad};
use crate::matrix::{Matrix, step};
use crate::norm::{Norm, NormGradients, PaddedNorm};
use crate::real::Real;
use crate::tile::Scratch;

/// LayerNorm of rows, `x` and `to` `[rows, D]`; all of `to` is written.
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
pub fn layer_norm<T: Real>(x: &[T], norm: &Norm<'_, T>, to: &mut [T]) {
    let width = norm.gamma.len();
    let rows = x.len() / width.max(1);
    let norm = PaddedNorm::new(norm);
    let level = Level::new();
    let mut tasks: Vec<_> = parts(x, width, rows)
        .into_iter()
        .zip(parts_mut(to, width, rows))
        .collect();
    each_mut(&mut tasks, Scratch::default, |memory, (x, to)| {
        dispatch!(level, simd => part(simd, x, &norm, width, to, memory));
    });
}

#[inline(always)]
fn part<S: Simd, T: Real>(
    simd: S,
    x: &[T],
    norm: &PaddedNorm<T>,
    width: usize,
    to: &mut [T],
    memory: &mut Scratch<T>,
) {
    let step = step::<T>(width);
    let rows = memory.take(ROWS.min(x.len() / width) * step);
    let mut inverse = [T::ZERO; ROWS];
    for (x, to) in x.chunks(ROWS * width).zip(to.chunks_mut(ROWS * width)) {
        let inverse = &mut inverse[..x.len() / width];
        pad(simd, x, width, rows, step);
        simd.vectorize(
            #[inline(always)]
            || norm.normalize(simd, rows, step, inverse),
        );
        unpad(simd, Matrix::padded(rows, width), width, to);
    }
}

/// Gradients of [`layer_norm`], given that of its output `[rows, D]`: those of the rows, to which `added`
/// is added, and those of the parameters. All are written whole.
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
pub fn layer_norm_backward<T: Real>(
    d_output: &[T],
    x: &[T],
    norm: &Norm<'_, T>,
    added: Option<&[T]>,
    d_x: &mut [T],
    gradients: &mut NormGradients<'_, T>,
) {
    let width = norm.gamma.len();
    let rows = x.len() / width.max(1);
    let norm = PaddedNorm::new(norm);
    let step = step::<T>(width);
    let mut sums = sums_of_parts(rows);
    let added = added.map(|added| parts(added, width, rows));
    let level = Level::new();
    let mut tasks: Vec<_> = parts(d_output, width, rows)
        .into_iter()
        .zip(parts(x, width, rows))
        .zip(parts_mut(d_x, width, rows))
        .zip(&mut sums)
        .enumerate()
        .collect();
    each_mut(&mut tasks, Default::default, |memory, (number, task)| {
        let (((d_output, x), d_x), sums) = task;
        let given = [*d_output, *x];
        let added = added.as_ref().map(|added| added[*number]);
        **sums = vec![T::ZERO; 2 * step];
        dispatch!(level, simd => part_backward(simd, given, &norm, added, d_x, sums, memory));
    });
    let sums = add_up(&sums, 2 * step);
    gradients.gamma.copy_from_slice(&sums[..width]);
    gradients.beta.copy_from_slice(&sums[step..][..width]);
}

#[inline(always)]
fn part_backward<S: Simd, T: Real>(
    simd: S,
    [d_output, x]: [&[T]; 2],
    norm: &PaddedNorm<T>,
    added: Option<&[T]>,
    d_x: &mut [T],
    sums: &mut [T],
    [rows, d_rows]: &mut [Scratch<T>; 2],
) {
    let step = sums.len() / 2;
    let (d_gamma, d_beta) = sums.split_at_mut(step);
    let width = norm.width();
    let (rows, d_rows) = (rows.take(ROWS * step), d_rows.take(ROWS * step));
    let mut inverse = [T::ZERO; ROWS];
    for (tile, x) in x.chunks(ROWS * width).enumerate() {
        let own = tile * ROWS * width..tile * ROWS * width + x.len();
        let inverse = &mut inverse[..x.len() / width];
        pad(simd, x, width, rows, step);
        pad(simd, &d_output[own.clone()], width, d_rows, step);
        simd.vectorize(
            #[inline(always)]
            || {
                norm.standardize(simd, rows, step, inverse);
                let from = Matrix::padded(rows, width);
                norm.backward(
                    simd,
                    d_rows,
                    step,
                    from,
                    inverse,
                    [&mut *d_gamma, &mut *d_beta],
                );
            },
        );
        let to = &mut d_x[own.clone()];
        unpad(simd, Matrix::padded(d_rows, width), width, to);
        if let Some(added) = added {
            simd.vectorize(
                #[inline(always)]
                || add(simd, &added[own], to),
            );
        }
    }
}
