//! What the fused layers share: linear layers side by side, parts of a batch's rows, and sums of
//! the parts' gradients.
//!
//! Rows are cut into parts by their number alone. Each part sums the gradients of the parameters in
//! memory of its own, and the parts are added in order: the same bits for any number of threads.

use crate::parallel::*;
use fearless_simd::prelude::*;

use crate::matrix::{Matrix, Panels, line, step};
use crate::real::{Lanes, Real, load, store};

/// Rows that are worked on at once: all of a tile's matrices stay in a core's second cache.
pub(crate) const ROWS: usize = 64;

/// The most parts, each of which has sums of its own.
const PARTS: usize = 32;

/// Rows of a part, of `rows` altogether.
pub(crate) fn rows_of_part(rows: usize) -> usize {
    rows.div_ceil(PARTS).next_multiple_of(ROWS).max(4 * ROWS)
}

/// The parameters of a linear layer `y = x W + b`.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a, T> {
    /// `W [inputs, outputs]`, row-major.
    pub weight: &'a [T],
    /// `b [outputs]`
    pub bias: &'a [T],
}

/// Where gradients of a linear layer's parameters go.
#[derive(Debug)]
pub struct LinearGradients<'a, T> {
    /// Of `W`.
    pub weight: &'a mut [T],
    /// Of `b`.
    pub bias: &'a mut [T],
}

/// Linear layers of the same inputs side by side, each filled up with zeros to whole cache lines.
pub(crate) struct Stack<T> {
    /// `[inputs, columns]`, in panels.
    weight: Vec<T>,
    /// `[columns, inputs]`, in panels; empty unless asked for.
    transposed: Vec<T>,
    pub bias: Vec<T>,
    pub inputs: usize,
    /// Columns of all layers, padding included.
    pub columns: usize,
    /// First column and width of each layer.
    places: Vec<(usize, usize)>,
}

impl<T: Real> Stack<T> {
    pub fn new(inputs: usize, layers: &[&Linear<'_, T>], backward: bool) -> Self {
        let line = line::<T>();
        let mut columns = 0;
        let places: Vec<_> = layers
            .iter()
            .map(|layer| {
                let (first, width) = (columns, layer.bias.len());
                assert_eq!(
                    layer.weight.len(),
                    inputs * width,
                    "a linear layer's weight is [inputs, outputs]"
                );
                columns += width.next_multiple_of(line);
                (first, width)
            })
            .collect();
        let padded_inputs = inputs.next_multiple_of(line);
        let mut weight = vec![T::ZERO; inputs * columns];
        let mut transposed = vec![T::ZERO; if backward { columns * padded_inputs } else { 0 }];
        let mut bias = vec![T::ZERO; step::<T>(columns)];
        for (layer, &(first, width)) in layers.iter().zip(&places) {
            bias[first..first + width].copy_from_slice(layer.bias);
            for (input, row) in layer.weight.chunks_exact(width.max(1)).enumerate() {
                for (piece, values) in row.chunks(line).enumerate() {
                    let at = (first / line + piece) * inputs * line + input * line;
                    weight[at..at + values.len()].copy_from_slice(values);
                }
                if backward {
                    let at = input / line * columns * line + input % line;
                    for (column, value) in row.iter().enumerate() {
                        transposed[at + (first + column) * line] = *value;
                    }
                }
            }
        }
        Self {
            weight,
            transposed,
            bias,
            inputs,
            columns,
            places,
        }
    }

    pub fn weight(&self) -> Panels<'_, T> {
        Panels::of(&self.weight, self.inputs)
    }

    pub fn transposed(&self) -> Panels<'_, T> {
        Panels::of(&self.transposed, self.columns)
    }

    /// First column and width of a layer.
    pub fn place(&self, layer: usize) -> (usize, usize) {
        self.places[layer]
    }

    /// Numbers that its gradients take in a part's sums: the weight's, then the bias's.
    pub fn sums_len(&self) -> usize {
        (self.inputs + 1) * step::<T>(self.columns)
    }

    /// Divides the gradients' sums into those of the weight and those of the bias.
    pub fn split_sums<'a>(&self, sums: &'a mut [T]) -> (&'a mut [T], &'a mut [T]) {
        sums.split_at_mut(self.inputs * step::<T>(self.columns))
    }

    /// Copies the gradients of one layer from the sums.
    pub fn unpack(&self, layer: usize, sums: &[T], to: &mut LinearGradients<'_, T>) {
        let (first, width) = self.places[layer];
        let step = step::<T>(self.columns);
        assert_eq!(to.weight.len(), self.inputs * width, "d_weight");
        assert_eq!(to.bias.len(), width, "d_bias");
        for (row, to) in sums
            .chunks_exact(step)
            .zip(to.weight.chunks_exact_mut(width.max(1)))
        {
            to.copy_from_slice(&row[first..first + width]);
        }
        to.bias
            .copy_from_slice(&sums[self.inputs * step + first..][..width]);
    }
}

/// Cuts `[rows, width]` into parts.
pub(crate) fn parts<T>(values: &[T], width: usize, rows: usize) -> Vec<&[T]> {
    assert_eq!(values.len(), rows * width, "[{rows}, {width}] values");
    match width {
        0 => vec![values; rows.div_ceil(rows_of_part(rows))],
        _ => values.chunks(rows_of_part(rows) * width).collect(),
    }
}

/// [`parts`] of an output.
pub(crate) fn parts_mut<T>(values: &mut [T], width: usize, rows: usize) -> Vec<&mut [T]> {
    assert_eq!(values.len(), rows * width, "[{rows}, {width}] values");
    match width {
        0 => (0..rows.div_ceil(rows_of_part(rows)))
            .map(|_| [].as_mut_slice())
            .collect(),
        _ => values.chunks_mut(rows_of_part(rows) * width).collect(),
    }
}

/// Copies rows `[count, width]` into padded memory, zeros beside them.
#[inline(always)]
pub(crate) fn pad<S: Simd, T: Real>(simd: S, rows: &[T], width: usize, to: &mut [T], step: usize) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (row, to) in rows.chunks_exact(width).zip(to.chunks_exact_mut(step)) {
                let (to, rest) = to.split_at_mut(width);
                copy(simd, row, to);
                rest.fill(T::ZERO);
            }
        },
    );
}

/// Copies the real part of padded rows.
#[inline(always)]
pub(crate) fn unpad<S: Simd, T: Real>(simd: S, rows: Matrix<'_, T>, width: usize, to: &mut [T]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (i, to) in to.chunks_exact_mut(width.max(1)).enumerate() {
                copy(simd, &rows.data[i * rows.step..][..width], to);
            }
        },
    );
}

/// Writes the sum of several `[count, width]` to padded rows; zeros if there are none. What lies
/// beside the rows stays.
#[inline(always)]
pub(crate) fn pad_sum<S: Simd, T: Real>(
    simd: S,
    lists: &[&[T]],
    width: usize,
    count: usize,
    to: &mut [T],
    step: usize,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            for i in 0..count {
                let to = &mut to[i * step..][..width];
                let own = i * width..(i + 1) * width;
                match lists {
                    [] => to.fill(T::ZERO),
                    [first, rest @ ..] => {
                        copy(simd, &first[own.clone()], to);
                        for list in rest {
                            add(simd, &list[own.clone()], to);
                        }
                    }
                }
            }
        },
    );
}

/// A copy of a row, which is too short for a call of the library's to pay.
#[inline(always)]
fn copy<S: Simd, T: Real>(simd: S, from: &[T], to: &mut [T]) {
    let lanes = Lanes::<S, T>::LEN;
    let mut from = from.chunks_exact(lanes);
    let mut to = to.chunks_exact_mut(lanes);
    for (from, to) in from.by_ref().zip(to.by_ref()) {
        store::<S, T>(load::<S, T>(simd, from), to);
    }
    for (from, to) in from.remainder().iter().zip(to.into_remainder()) {
        *to = *from;
    }
}

/// `to += from`
#[inline(always)]
pub(crate) fn add<S: Simd, T: Real>(simd: S, from: &[T], to: &mut [T]) {
    let lanes = Lanes::<S, T>::LEN;
    let mut from = from.chunks_exact(lanes);
    let mut to = to.chunks_exact_mut(lanes);
    for (from, to) in from.by_ref().zip(to.by_ref()) {
        store::<S, T>(load::<S, T>(simd, from) + load::<S, T>(simd, to), to);
    }
    for (from, to) in from.remainder().iter().zip(to.into_remainder()) {
        *to += *from;
    }
}

/// A list for each part's sums, empty: the thread that works on a part makes it, cleared.
pub(crate) fn sums_of_parts<T>(rows: usize) -> Vec<Vec<T>> {
    (0..rows.div_ceil(rows_of_part(rows)))
        .map(|_| Vec::new())
        .collect()
}

/// Adds up the parts' sums, each of `len` numbers, in order.
pub(crate) fn add_up<T: Real>(sums: &[Vec<T>], len: usize) -> Vec<T> {
    const PIECE: usize = 1024;
    let mut total = vec![T::ZERO; len];
    total
        .par_chunks_mut(PIECE)
        .enumerate()
        .for_each(|(piece, total)| {
            for part in sums {
                for (total, value) in total.iter_mut().zip(&part[piece * PIECE..]) {
                    *total += *value;
                }
            }
        });
    total
}
