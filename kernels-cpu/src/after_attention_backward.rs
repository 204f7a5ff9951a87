//! Gradients of [`after_attention`](crate::after_attention), in one pass that computes what lies
//! between its inputs and its output again, unless it was kept.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::after_attention::{AfterAttention, Layers, Memory, kept_of_tile};
use crate::gelu::gelu;
use crate::layers::{
    LinearGradients, ROWS, Stack, add_up, pad, parts, parts_mut, rows_of_part, sums_of_parts, unpad,
};
use crate::matrix::{Matrix, Start, add_columns, product, step};
use crate::norm::NormGradients;
use crate::real::{Lanes, Real, load, store};
use crate::tile::Scratch;

/// Outputs of [`after_attention_backward`], all written whole.
#[derive(Debug)]
pub struct AfterAttentionGradients<'a, T> {
    /// `[rows, D]`
    pub context: &'a mut [T],
    /// `[rows, D]`
    pub residual: &'a mut [T],
    /// Of `W_o`, `b_o`.
    pub output: LinearGradients<'a, T>,
    /// Of `LN`.
    pub norm: NormGradients<'a, T>,
    /// Of `W_in`, `b_in`.
    pub ff_in: LinearGradients<'a, T>,
    /// Of `W_out`, `b_out`.
    pub ff_out: LinearGradients<'a, T>,
}

/// Gradients of [`after_attention`](crate::after_attention), given that of its output `[rows, D]`.
///
/// Given what it kept of the same inputs, none of that is computed again; without, all is.
///
/// # Panics
///
/// Panics if the shapes do not fit each other, or if what was kept is not
/// [`kept_len`](AfterAttention::kept_len) numbers.
pub fn after_attention_backward<T: Real>(
    inputs: &AfterAttention<'_, T>,
    kept: Option<&[T]>,
    d_output: &[T],
    gradients: &mut AfterAttentionGradients<'_, T>,
) {
    let (width, rows) = (inputs.width(), inputs.rows());
    let layers = inputs.layers(true);
    let stacks = [&layers.output, &layers.ff_in, &layers.ff_out];
    let sums_len = stacks.map(Stack::sums_len).iter().sum::<usize>() + 2 * step::<T>(width);
    let part_rows = rows_of_part(rows);
    let mut sums = sums_of_parts(rows);
    let level = Level::new();
    if let Some(kept) = kept {
        assert_eq!(kept.len(), inputs.kept_len(), "what is kept");
    }
    let mut kept = kept.unwrap_or_default().chunks(inputs.kept_of_part());
    let mut tasks: Vec<_> = parts(inputs.context, width, rows)
        .into_iter()
        .zip(parts(inputs.residual, width, rows))
        .zip(parts(d_output, width, rows))
        .zip(parts_mut(gradients.context, width, rows))
        .zip(parts_mut(gradients.residual, width, rows))
        .zip(&mut sums)
        .map(|task| (task, kept.next().unwrap_or_default()))
        .enumerate()
        .collect();
    tasks
        .par_iter_mut()
        .for_each_init(Default::default, |(memory, more), (number, task)| {
            let ((((((context, residual), d_output), d_context), d_residual), sums), kept) = task;
            let work = Work {
                layers: &layers,
                first: *number * part_rows,
                given: [context, residual, d_output],
                kept,
            };
            let outputs = [&mut **d_context, &mut **d_residual];
            **sums = vec![T::ZERO; sums_len];
            dispatch!(level, simd => part(simd, &work, outputs, sums, memory, more));
        });
    let sums = add_up(&sums, sums_len);
    let mut rest = sums.as_slice();
    for (stack, to) in stacks.into_iter().zip([
        &mut gradients.output,
        &mut gradients.ff_in,
        &mut gradients.ff_out,
    ]) {
        let (own, others) = rest.split_at(stack.sums_len());
        stack.unpack(0, own, to);
        rest = others;
    }
    let (gamma, beta) = rest.split_at(step::<T>(width));
    gradients.norm.gamma.copy_from_slice(&gamma[..width]);
    gradients.norm.beta.copy_from_slice(&beta[..width]);
}

/// Memory of the backward pass alone.
#[derive(Default)]
struct More<T> {
    /// Gradients of the output, then of `Y`.
    d_rows: Scratch<T>,
    /// A branch's, after its dropout.
    d_branch: Scratch<T>,
    d_hidden: Scratch<T>,
    d_normed: Scratch<T>,
}

/// One part of the rows, `first` of them before it.
struct Work<'a, T> {
    layers: &'a Layers<T>,
    first: usize,
    /// Context, residual, gradient of the output.
    given: [&'a [T]; 3],
    /// Of whole tiles; empty if nothing was kept.
    kept: &'a [T],
}

#[inline(always)]
fn part<S: Simd, T: Real>(
    simd: S,
    work: &Work<'_, T>,
    [d_context, d_residual]: [&mut [T]; 2],
    sums: &mut [T],
    memory: &mut Memory<T>,
    more: &mut More<T>,
) {
    let Work { layers, first, .. } = *work;
    let lanes = Lanes::<S, T>::LEN;
    let width = layers.output.inputs;
    let hidden_width = layers.ff_out.inputs;
    let (x_step, h_step) = (step::<T>(width), step::<T>(hidden_width));
    let context = memory.context.take(ROWS * x_step);
    let standardized = memory.standardized.take(ROWS * x_step);
    let normed = memory.normed.take(ROWS * x_step);
    let hidden = memory.hidden.take(ROWS * h_step);
    let activated = memory.activated.take(ROWS * h_step);
    let branch = memory.branch.take(ROWS * x_step);
    let d_rows = more.d_rows.take(ROWS * x_step);
    let d_branch = more.d_branch.take(ROWS * x_step);
    let d_hidden = more.d_hidden.take(ROWS * h_step);
    let d_normed = more.d_normed.take(ROWS * x_step);
    let (of_output, rest) = sums.split_at_mut(layers.output.sums_len());
    let (of_ff_in, rest) = rest.split_at_mut(layers.ff_in.sums_len());
    let (of_ff_out, of_norm) = rest.split_at_mut(layers.ff_out.sums_len());
    let (d_gamma, d_beta) = of_norm.split_at_mut(x_step);
    let mut inverse = [T::ZERO; ROWS];
    let mut kept = work
        .kept
        .chunks_exact(kept_of_tile::<T>(width, hidden_width));
    for (tile, x) in work.given[0].chunks(ROWS * width).enumerate() {
        let count = x.len() / width;
        let own = tile * ROWS * width..tile * ROWS * width + count * width;
        let tile_rows = first + tile * ROWS..first + tile * ROWS + count;
        let inverse = &mut inverse[..count];

        // The forward pass again, as far as it was not kept.
        pad(simd, x, width, context, x_step);
        pad(simd, &work.given[2][own.clone()], width, d_rows, x_step);
        let kept = kept.next().map(|kept| kept.split_at(ROWS * x_step));
        match kept {
            Some((rows, _)) => standardized.copy_from_slice(rows),
            None => {
                let residual = &work.given[1][own.clone()];
                pad(simd, residual, width, standardized, x_step);
                let from = Matrix::padded(context, width);
                layers.add_branch(simd, 0, from, tile_rows.clone(), standardized, branch);
            }
        }
        simd.vectorize(
            #[inline(always)]
            || {
                layers.norm.standardize(simd, standardized, x_step, inverse);
                let from = Matrix::padded(standardized, width);
                layers.norm.scale(simd, from, normed, x_step, count);
            },
        );
        match kept {
            Some((_, kept)) => hidden.copy_from_slice(kept),
            None => {
                let sizes = [count, hidden_width, width];
                let left = Matrix::padded(normed, width);
                let (weight, bias) = (layers.ff_in.weight(), Start::Row(&layers.ff_in.bias));
                product::<S, T, false>(simd, left, weight, bias, hidden, h_step, sizes);
            }
        }
        // The GELU, and in the place of its input its derivative.
        simd.vectorize(
            #[inline(always)]
            || {
                let columns = hidden_width.next_multiple_of(lanes);
                for i in 0..count {
                    for column in (i * h_step..i * h_step + columns).step_by(lanes) {
                        let x = load::<S, T>(simd, &hidden[column..]);
                        let (y, derivative) = gelu::<S, T>(simd, x);
                        store::<S, T>(y, &mut activated[column..]);
                        store::<S, T>(derivative, &mut hidden[column..]);
                    }
                }
            },
        );
        layers.drop(simd, 1, tile_rows.clone(), hidden_width, activated, h_step);

        // The last layer.
        d_branch.copy_from_slice(d_rows);
        layers.drop(simd, 2, tile_rows.clone(), width, d_branch, x_step);
        let from = Matrix::padded(activated, hidden_width);
        layer_backward(
            simd,
            &layers.ff_out,
            from,
            d_branch,
            count,
            of_ff_out,
            d_hidden,
        );
        layers.drop(simd, 1, tile_rows.clone(), hidden_width, d_hidden, h_step);
        simd.vectorize(
            #[inline(always)]
            || {
                let derivative = &hidden[..count * h_step];
                for (d, derivative) in d_hidden.iter_mut().zip(derivative) {
                    *d *= *derivative;
                }
            },
        );
        // The layer before it, and the norm.
        let from = Matrix::padded(normed, width);
        layer_backward(
            simd,
            &layers.ff_in,
            from,
            d_hidden,
            count,
            of_ff_in,
            d_normed,
        );
        simd.vectorize(
            #[inline(always)]
            || {
                let from = Matrix::padded(standardized, width);
                let parameters = [&mut *d_gamma, &mut *d_beta];
                let norm = &layers.norm;
                let len = count * x_step;
                if layers.adds_norm {
                    for (d, more) in d_normed[..len].iter_mut().zip(&*d_rows) {
                        *d += *more;
                    }
                    d_rows[..len].fill(T::ZERO);
                }
                norm.backward(simd, d_normed, x_step, from, inverse, parameters);
                for (d, more) in d_rows[..len].iter_mut().zip(&*d_normed) {
                    *d += *more;
                }
            },
        );
        unpad(
            simd,
            Matrix::padded(d_rows, width),
            width,
            &mut d_residual[own.clone()],
        );
        // The output layer.
        layers.drop(simd, 0, tile_rows, width, d_rows, x_step);
        let from = Matrix::padded(context, width);
        layer_backward(
            simd,
            &layers.output,
            from,
            d_rows,
            count,
            of_output,
            d_normed,
        );
        unpad(
            simd,
            Matrix::padded(d_normed, width),
            width,
            &mut d_context[own],
        );
    }
}

/// Adds a layer's gradients to its sums and writes those of its inputs.
#[inline(always)]
fn layer_backward<S: Simd, T: Real>(
    simd: S,
    layer: &Stack<T>,
    inputs: Matrix<'_, T>,
    d_outputs: &[T],
    count: usize,
    sums: &mut [T],
    d_inputs: &mut [T],
) {
    let d_outputs = Matrix::padded(d_outputs, layer.columns);
    let (d_weight, d_bias) = layer.split_sums(sums);
    simd.vectorize(
        #[inline(always)]
        || add_columns(simd, d_outputs, count, layer.columns, d_bias),
    );
    let sizes = [layer.inputs, layer.columns, count];
    let start = Start::Result;
    product::<S, T, true>(
        simd,
        inputs,
        d_outputs,
        start,
        d_weight,
        d_outputs.step,
        sizes,
    );
    let sizes = [count, layer.inputs, layer.columns];
    let step = step::<T>(layer.inputs);
    let transposed = layer.transposed();
    product::<S, T, false>(
        simd,
        d_outputs,
        transposed,
        Start::Zero,
        d_inputs,
        step,
        sizes,
    );
}
