//! Gradients of [`heads`](crate::heads), in one pass that computes keys and values again where they
//! have a LayerNorm.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::heads::Heads;
use crate::layers::{
    LinearGradients, ROWS, Stack, add, add_up, pad, pad_sum, parts, parts_mut, sums_of_parts, unpad,
};
use crate::matrix::{Matrix, Start, add_columns, product, step};
use crate::norm::{NormGradients, PaddedNorm};
use crate::real::Real;
use crate::tile::Scratch;

/// Gradients of what [`heads`](crate::heads) gave. An output's gradient is the sum of those listed:
/// keys and values are read twice, by `project` and by `attend`, and nobody has to add that up
/// beforehand. An empty list is a gradient of zeros.
#[derive(Clone, Debug)]
pub struct HeadsOutputGradients<'a, T> {
    /// `[rows, D]` each
    pub query: Vec<&'a [T]>,
    /// `[rows, D]` each
    pub key: Vec<&'a [T]>,
    /// `[rows, D]` each
    pub value: Vec<&'a [T]>,
    /// `[rows, heads · rank]` each
    pub scores: Vec<&'a [T]>,
    /// Of `X` itself from wherever else it is read, `[rows, D]` each: added to its gradient.
    pub x: Vec<&'a [T]>,
}

/// Outputs of [`heads_backward`], all written whole.
#[derive(Debug)]
pub struct HeadsGradients<'a, T> {
    /// `[rows, D]`
    pub x: &'a mut [T],
    /// Of `LN`, if there is one.
    pub norm: Option<NormGradients<'a, T>>,
    /// Of `W_q`, `b_q`.
    pub query: LinearGradients<'a, T>,
    /// Of `W_k`, `b_k`.
    pub key: LinearGradients<'a, T>,
    /// Of `W_v`, `b_v`.
    pub value: LinearGradients<'a, T>,
    /// Of `W_p`, `b_p`, if there is a projection.
    pub projection: Option<LinearGradients<'a, T>>,
    /// Of `LN_win`, if there is one.
    pub window_norm: Option<NormGradients<'a, T>>,
}

/// Gradients of [`heads`](crate::heads).
///
/// # Panics
///
/// Panics if the shapes do not fit each other, or if there is a gradient for a projection or a LayerNorm
/// that is not among the inputs, or the other way round.
pub fn heads_backward<T: Real>(
    inputs: &Heads<'_, T>,
    d_output: &HeadsOutputGradients<'_, T>,
    gradients: &mut HeadsGradients<'_, T>,
) {
    let (width, rows, scores) = (inputs.width(), inputs.rows(), inputs.scores());
    let stack = inputs.stack(true);
    let norms = inputs.norms();
    let sums_len = stack.sums_len() + 4 * step::<T>(width);
    let mut sums = sums_of_parts(rows);
    let given = [
        (&d_output.query, width),
        (&d_output.key, width),
        (&d_output.value, width),
        (&d_output.scores, scores),
        (&d_output.x, width),
    ];
    let given = given.map(|(list, width)| {
        let lists = list.iter().map(|values| parts(values, width, rows));
        lists.collect::<Vec<_>>()
    });
    let level = Level::new();
    let mut tasks: Vec<_> = parts(inputs.x, width, rows)
        .into_iter()
        .zip(parts_mut(gradients.x, width, rows))
        .zip(&mut sums)
        .enumerate()
        .collect();
    tasks
        .par_iter_mut()
        .for_each_init(Memory::default, |memory, (number, ((x, d_x), sums))| {
            let given = given
                .each_ref()
                .map(|lists| lists.iter().map(|parts| parts[*number]).collect());
            let work = Work {
                x,
                stack: &stack,
                norms: &norms,
                given,
            };
            **sums = vec![T::ZERO; sums_len];
            dispatch!(level, simd => part(simd, &work, d_x, sums, memory));
        });
    let sums = add_up(&sums, sums_len);
    let (of_stack, of_norms) = sums.split_at(stack.sums_len());
    stack.unpack(0, of_stack, &mut gradients.query);
    stack.unpack(1, of_stack, &mut gradients.key);
    stack.unpack(2, of_stack, &mut gradients.value);
    assert_eq!(
        inputs.projection.is_some(),
        gradients.projection.is_some(),
        "a projection and its gradients"
    );
    if let Some(projection) = &mut gradients.projection {
        stack.unpack(3, of_stack, projection);
    }
    for (norm, (sums, to)) in norms.iter().zip(
        of_norms
            .chunks_exact(2 * step::<T>(width))
            .zip([&mut gradients.norm, &mut gradients.window_norm]),
    ) {
        assert_eq!(
            norm.is_some(),
            to.is_some(),
            "a LayerNorm and its gradients"
        );
        if let Some(to) = to {
            let (gamma, beta) = sums.split_at(step::<T>(width));
            to.gamma.copy_from_slice(&gamma[..width]);
            to.beta.copy_from_slice(&beta[..width]);
        }
    }
}

#[derive(Default)]
struct Memory<T> {
    /// `x̂` of `LN`, and `LN(x)`.
    standardized: Scratch<T>,
    normed: Scratch<T>,
    /// `x̂` of `LN_win` for keys and values.
    window: Scratch<T>,
    /// Gradients of all layers' outputs.
    d_y: Scratch<T>,
    d_normed: Scratch<T>,
}

/// One part of the rows.
struct Work<'a, T> {
    x: &'a [T],
    stack: &'a Stack<T>,
    norms: &'a [Option<PaddedNorm<T>>; 2],
    /// Of query, key, value, scores and x.
    given: [Vec<&'a [T]>; 5],
}

#[inline(always)]
fn part<S: Simd, T: Real>(
    simd: S,
    work: &Work<'_, T>,
    d_x: &mut [T],
    sums: &mut [T],
    memory: &mut Memory<T>,
) {
    let Work { x, stack, .. } = *work;
    let [norm, window_norm] = work.norms;
    let width = stack.inputs;
    let (x_step, y_step) = (step::<T>(width), step::<T>(stack.columns));
    let (first_key, _) = stack.place(1);
    let (first_value, _) = stack.place(2);
    let window_columns = stack.place(3).0 - first_key;
    let window_step = step::<T>(window_columns);
    let standardized = memory.standardized.take(ROWS * x_step);
    let normed = memory.normed.take(ROWS * x_step);
    let window = memory.window.take(ROWS * window_step);
    let d_y = memory.d_y.take(ROWS * y_step);
    let d_normed = memory.d_normed.take(ROWS * x_step);
    d_y.fill(T::ZERO);
    let mut inverse = [[T::ZERO; ROWS]; 3];
    let (of_stack, of_norms) = sums.split_at_mut(stack.sums_len());
    let (d_weight, d_bias) = stack.split_sums(of_stack);
    let (d_norm, d_window_norm) = of_norms.split_at_mut(2 * x_step);
    for (tile, x) in x.chunks(ROWS * width).enumerate() {
        let count = x.len() / width;
        let [inverse, key_inverse, value_inverse] =
            inverse.each_mut().map(|values| &mut values[..count]);
        match norm {
            None => pad(simd, x, width, normed, x_step),
            Some(norm) => {
                pad(simd, x, width, standardized, x_step);
                simd.vectorize(
                    #[inline(always)]
                    || {
                        norm.standardize(simd, standardized, x_step, inverse);
                        let from = Matrix::padded(standardized, width);
                        norm.scale(simd, from, normed, x_step, count);
                    },
                );
            }
        }
        // Keys and values before LN_win.
        if window_norm.is_some() {
            let sizes = [count, window_columns, width];
            product::<S, T, false>(
                simd,
                Matrix::padded(normed, width),
                stack.weight().skip_columns(first_key),
                Start::Row(&stack.bias[first_key..]),
                window,
                window_step,
                sizes,
            );
        }
        for (layer, lists) in work.given[..4].iter().enumerate() {
            let (first, width) = stack.place(layer);
            let own = tile * ROWS * width..tile * ROWS * width + count * width;
            let lists: Vec<_> = lists.iter().map(|list| &list[own.clone()]).collect();
            pad_sum(simd, &lists, width, count, &mut d_y[first..], y_step);
        }
        simd.vectorize(
            #[inline(always)]
            || {
                if let Some(norm) = window_norm {
                    for (first, inverse) in [(first_key, key_inverse), (first_value, value_inverse)]
                    {
                        let own = first - first_key;
                        norm.standardize(simd, &mut window[own..], window_step, inverse);
                        let from = Matrix::padded(window, window_columns).skip_columns(own);
                        let [d_gamma, d_beta] = halves(d_window_norm);
                        let d_rows = &mut d_y[first..];
                        norm.backward(simd, d_rows, y_step, from, inverse, [d_gamma, d_beta]);
                    }
                }
                let rows = Matrix::padded(d_y, stack.columns);
                add_columns(simd, rows, count, stack.columns, d_bias);
            },
        );
        let d_rows = Matrix::padded(d_y, stack.columns);
        let sizes = [width, stack.columns, count];
        let left = Matrix::padded(normed, width);
        product::<S, T, true>(simd, left, d_rows, Start::Result, d_weight, y_step, sizes);
        let sizes = [count, width, stack.columns];
        let transposed = stack.transposed();
        product::<S, T, false>(
            simd,
            d_rows,
            transposed,
            Start::Zero,
            d_normed,
            x_step,
            sizes,
        );
        if let Some(norm) = norm {
            simd.vectorize(
                #[inline(always)]
                || {
                    let from = Matrix::padded(standardized, width);
                    let [d_gamma, d_beta] = halves(d_norm);
                    norm.backward(simd, d_normed, x_step, from, inverse, [d_gamma, d_beta]);
                },
            );
        }
        let d_x = &mut d_x[tile * ROWS * width..][..count * width];
        unpad(simd, Matrix::padded(d_normed, width), width, d_x);
        for list in &work.given[4] {
            let from = &list[tile * ROWS * width..][..count * width];
            simd.vectorize(
                #[inline(always)]
                || add(simd, from, d_x),
            );
        }
    }
}

fn halves<T>(values: &mut [T]) -> [&mut [T]; 2] {
    let (a, b) = values.split_at_mut(values.len() / 2);
    [a, b]
}
