//! What follows attention in a block, in one pass: output layer, residual, LayerNorm, feed-forward
//! layers, residual.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use transformer_ls_kernels::{Dropout, dropout};

use crate::gelu::gelu;
use crate::layers::{Linear, ROWS, Stack, pad, parts, parts_mut, rows_of_part, unpad};
use crate::matrix::{Matrix, Start, product, step};
use crate::norm::{Norm, PaddedNorm};
use crate::real::{Lanes, Real, load, store};
use crate::tile::Scratch;

/// Inputs of [`after_attention`]: `rows` of width `D`.
///
/// ```text
/// Y = X + drop₀(C W_o + b_o)
/// output = Y + drop₂(drop₁(gelu(LN(Y) W_in + b_in)) W_out + b_out)
/// ```
///
/// with `LN(Y)` in the place of the `Y` that is added, if it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct AfterAttention<'a, T> {
    /// What the heads read, `C [rows, D]`.
    pub context: &'a [T],
    /// `X [rows, D]`
    pub residual: &'a [T],
    /// `W_o`: `D` → `D`
    pub output: Linear<'a, T>,
    /// `LN`
    pub norm: Norm<'a, T>,
    /// `D` → `d_ff`
    pub ff_in: Linear<'a, T>,
    /// `d_ff` → `D`
    pub ff_out: Linear<'a, T>,
    /// Whether the last residual is `LN(Y)`, as in the release's language models.
    pub adds_norm: bool,
    /// Keeps the entry of `dropₛ` at `[row, column]` by [`dropout::hash`] of the seed, `s`, 0, the
    /// row and the column.
    pub dropout: Dropout,
}

/// The layers with their padding.
pub(crate) struct Layers<T> {
    pub output: Stack<T>,
    pub norm: PaddedNorm<T>,
    pub ff_in: Stack<T>,
    pub ff_out: Stack<T>,
    pub adds_norm: bool,
    pub dropout: Dropout,
}

impl<T: Real> AfterAttention<'_, T> {
    /// `D`
    pub(crate) fn width(&self) -> usize {
        self.norm.gamma.len()
    }

    pub(crate) fn rows(&self) -> usize {
        self.residual.len() / self.width()
    }

    /// Numbers that [`after_attention`] can keep for
    /// [`after_attention_backward`](crate::after_attention_backward).
    pub fn kept_len(&self) -> usize {
        let hidden = self.ff_in.bias.len();
        self.rows().div_ceil(ROWS) * kept_of_tile::<T>(self.width(), hidden)
    }

    /// [`kept_len`](Self::kept_len) of a part of the rows.
    pub(crate) fn kept_of_part(&self) -> usize {
        let hidden = self.ff_in.bias.len();
        rows_of_part(self.rows()) / ROWS * kept_of_tile::<T>(self.width(), hidden)
    }

    pub(crate) fn layers(&self, backward: bool) -> Layers<T> {
        let (width, hidden) = (self.width(), self.ff_in.bias.len());
        assert_eq!(
            self.output.bias.len(),
            width,
            "the output layer is as wide as X"
        );
        assert_eq!(
            self.ff_out.bias.len(),
            width,
            "the last layer is as wide as X"
        );
        Layers {
            output: Stack::new(width, &[&self.output], backward),
            norm: PaddedNorm::new(&self.norm),
            ff_in: Stack::new(width, &[&self.ff_in], backward),
            ff_out: Stack::new(hidden, &[&self.ff_out], backward),
            adds_norm: self.adds_norm,
            dropout: self.dropout,
        }
    }
}

/// Numbers of a tile that are kept for the backward pass: its rows of `Y`, and those before the GELU,
/// padded as they are worked on.
pub(crate) const fn kept_of_tile<T>(width: usize, hidden_width: usize) -> usize {
    ROWS * (step::<T>(width) + step::<T>(hidden_width))
}

/// The block's output `[rows, D]`, written whole.
///
/// Given memory for [`kept_len`](AfterAttention::kept_len) numbers, it keeps there what the backward
/// pass would compute again. All of the memory is written; how it lies there is the kernels' own matter.
///
/// # Panics
///
/// Panics if the shapes do not fit each other, or if the memory is of another length.
pub fn after_attention<T: Real>(
    inputs: &AfterAttention<'_, T>,
    output: &mut [T],
    kept: Option<&mut [T]>,
) {
    let (width, rows) = (inputs.width(), inputs.rows());
    let layers = inputs.layers(false);
    let level = Level::new();
    if let Some(kept) = &kept {
        assert_eq!(kept.len(), inputs.kept_len(), "what is kept");
    }
    let mut kept = kept.unwrap_or_default().chunks_mut(inputs.kept_of_part());
    let mut tasks: Vec<_> = parts(inputs.context, width, rows)
        .into_iter()
        .zip(parts(inputs.residual, width, rows))
        .zip(parts_mut(output, width, rows))
        .map(|(given, to)| (given, to, kept.next().unwrap_or_default()))
        .enumerate()
        .collect();
    tasks
        .par_iter_mut()
        .for_each_init(Memory::default, |memory, (number, (given, to, kept))| {
            let first = *number * rows_of_part(rows);
            let given = [given.0, given.1];
            dispatch!(level, simd => part(simd, &layers, first, given, to, kept, memory));
        });
}

/// Memory that a thread uses again for every tile.
#[derive(Default)]
pub(crate) struct Memory<T> {
    /// `C`
    pub context: Scratch<T>,
    /// `Y`
    pub rows: Scratch<T>,
    /// `x̂` of `LN`, and `LN(Y)`
    pub standardized: Scratch<T>,
    pub normed: Scratch<T>,
    /// Before the GELU, and after it.
    pub hidden: Scratch<T>,
    pub activated: Scratch<T>,
    /// What a layer gives before dropout.
    pub branch: Scratch<T>,
}

/// A part of the rows, `first` of them before it.
#[inline(always)]
fn part<S: Simd, T: Real>(
    simd: S,
    layers: &Layers<T>,
    first: usize,
    [context, residual]: [&[T]; 2],
    to: &mut [T],
    kept: &mut [T],
    memory: &mut Memory<T>,
) {
    let width = layers.output.inputs;
    let hidden_width = layers.ff_out.inputs;
    let (x_step, h_step) = (step::<T>(width), step::<T>(hidden_width));
    let padded_context = memory.context.take(ROWS * x_step);
    let rows = memory.rows.take(ROWS * x_step);
    let normed = memory.normed.take(ROWS * x_step);
    let hidden = memory.hidden.take(ROWS * h_step);
    let branch = memory.branch.take(ROWS * x_step);
    let mut inverse = [T::ZERO; ROWS];
    let mut kept = kept.chunks_exact_mut(kept_of_tile::<T>(width, hidden_width));
    for (tile, context) in context.chunks(ROWS * width).enumerate() {
        let count = context.len() / width;
        let own = tile * ROWS * width..tile * ROWS * width + count * width;
        let tile_rows = first + tile * ROWS..first + tile * ROWS + count;
        pad(simd, context, width, padded_context, x_step);
        pad(simd, &residual[own.clone()], width, rows, x_step);
        let inverse = &mut inverse[..count];
        let from = Matrix::padded(padded_context, width);
        layers.add_branch(simd, 0, from, tile_rows.clone(), rows, branch);
        normed.copy_from_slice(rows);
        simd.vectorize(
            #[inline(always)]
            || layers.norm.normalize(simd, normed, x_step, inverse),
        );
        let sizes = [count, hidden_width, width];
        let bias = Start::Row(&layers.ff_in.bias);
        let left = Matrix::padded(normed, width);
        let weight = layers.ff_in.weight();
        product::<S, T, false>(simd, left, weight, bias, hidden, h_step, sizes);
        if let Some(kept) = kept.next() {
            let (kept_rows, kept_hidden) = kept.split_at_mut(ROWS * x_step);
            kept_rows.copy_from_slice(rows);
            kept_hidden.copy_from_slice(hidden);
        }
        simd.vectorize(
            #[inline(always)]
            || {
                let lanes = Lanes::<S, T>::LEN;
                for row in hidden.chunks_exact_mut(h_step).take(count) {
                    for x in row[..hidden_width.next_multiple_of(lanes)].chunks_exact_mut(lanes) {
                        store::<S, T>(gelu::<S, T>(simd, load::<S, T>(simd, x)).0, x);
                    }
                }
            },
        );
        layers.drop(simd, 1, tile_rows.clone(), hidden_width, hidden, h_step);
        let from = Matrix::padded(hidden, hidden_width);
        let rows = match layers.adds_norm {
            true => &mut *normed,
            false => &mut *rows,
        };
        layers.add_branch(simd, 2, from, tile_rows, rows, branch);
        unpad(simd, Matrix::padded(rows, width), width, &mut to[own]);
    }
}

impl<T: Real> Layers<T> {
    /// Adds `drop(from · W + b)` to `rows`: the output layer at site 0, the last layer at site 2.
    #[inline(always)]
    pub fn add_branch<S: Simd>(
        &self,
        simd: S,
        site: u32,
        from: Matrix<'_, T>,
        tile_rows: std::ops::Range<usize>,
        rows: &mut [T],
        branch: &mut [T],
    ) {
        let layer = match site {
            0 => &self.output,
            _ => &self.ff_out,
        };
        let width = layer.columns;
        let step = step::<T>(width);
        let sizes = [tile_rows.len(), width, layer.inputs];
        let bias = Start::Row(&layer.bias);
        product::<S, T, false>(simd, from, layer.weight(), bias, branch, step, sizes);
        let count = tile_rows.len();
        self.drop(simd, site, tile_rows, width, branch, step);
        simd.vectorize(
            #[inline(always)]
            || {
                for (to, from) in rows[..count * step].iter_mut().zip(&branch[..count * step]) {
                    *to += *from;
                }
            },
        );
    }

    /// Drops entries of a site, and scales those that stay.
    #[inline(always)]
    pub fn drop<S: Simd>(
        &self,
        simd: S,
        site: u32,
        tile_rows: std::ops::Range<usize>,
        width: usize,
        values: &mut [T],
        step: usize,
    ) {
        if self.dropout.is_off() {
            return;
        }
        let scale = T::from_f64(self.dropout.scale());
        let threshold = dropout::threshold(self.dropout.probability);
        let of_site = dropout::of_head(self.dropout.seed, site, 0);
        simd.vectorize(
            #[inline(always)]
            || {
                for (row, values) in tile_rows.zip(values.chunks_exact_mut(step)) {
                    let of_row = dropout::step(of_site, row as u32);
                    for (column, value) in values[..width].iter_mut().enumerate() {
                        let kept = dropout::step(of_row, column as u32) >= threshold;
                        *value *= if kept { scale } else { T::ZERO };
                    }
                }
            },
        );
    }
}
