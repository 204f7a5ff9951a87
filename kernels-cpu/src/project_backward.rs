//! Gradients of the projected path (paper section 3.2, equation 3).
//!
//! ```text
//! P  = exp(scores − L)                                         recomputed
//! dS = P ∘ (dK̄ Kᵀ + dV̄ Vᵀ − D + dL),   D = Σ_d dK̄ ∘ K̄ + dV̄ ∘ V̄
//! dK = Pᵀ dK̄,   dV = Pᵀ dV̄
//! ```
//!
//! `D` is a number per landmark, known from the output, so that each part of a document is on its
//! own and no second sum over the tokens is needed.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::documents::{Cut, Strip};
use crate::exp::exp;
use crate::products::{Factors, Terms, all_vectors, dots, sums};
use crate::project::{PART, Project, TOKENS};
use crate::real::{Lanes, Real, load, store};
use crate::tile::{Scratch, TILE, TileRow, add, copied, put, transpose_rows, vectors};
use crate::view::{Rows, View, ViewMut};

/// Tokens that are taken under one head before the next head's turn.
const STRIP: usize = 256;

/// Where [`project_backward`](crate::project_backward) writes; all of each is written, with zeros
/// for padded tokens.
#[derive(Debug)]
pub struct ProjectGradients<'a, T> {
    /// `[b, h, r, n]`, fastest where the landmarks of a token and head lie side by side.
    pub scores: ViewMut<'a, T>,
    /// `[b, h, n, d]`, the last dimension side by side.
    pub key: ViewMut<'a, T>,
    /// `[b, h, n, d]`, the last dimension side by side.
    pub value: ViewMut<'a, T>,
}

/// Gradients of [`project`](crate::project) for scores, keys and values.
///
/// # Shapes
///
/// - output, d_output: `[documents, h, r, 2·d + 1]`, the last dimension side by side: what
///   `project` gave for these inputs, and the loss's gradient for it
///
/// # Panics
///
/// Panics if shapes or documents do not fit each other.
pub fn project_backward<T: Real>(
    inputs: &Project<'_, T>,
    output: View<'_, T>,
    d_output: View<'_, T>,
    gradients: &mut ProjectGradients<'_, T>,
) {
    let sizes = inputs.sizes();
    let documents = inputs.documents.list(sizes.batch, sizes.tokens);
    let [b, h, r, n, d] = [
        sizes.batch,
        sizes.heads,
        sizes.landmarks,
        sizes.tokens,
        sizes.width,
    ];
    output.assert_like("output", [documents.len(), h, r, 2 * d + 1]);
    d_output.assert_like("d_output", [documents.len(), h, r, 2 * d + 1]);
    gradients.scores.assert_shape("d_scores", [b, h, r, n]);
    gradients.key.assert_like("d_key", [b, h, n, d]);
    gradients.value.assert_like("d_value", [b, h, n, d]);
    let gradients = &*gradients;
    let level = Level::new();
    Cut::new(h, d * size_of::<T>(), PART)
        .tasks(&documents)
        .par_iter()
        .for_each_init(Memory::default, |memory, task| {
            for part in task.strips(STRIP) {
                dispatch!(level, simd => {
                    strip(simd, inputs, output, d_output, gradients, &part, memory)
                });
            }
        });
}

#[derive(Default)]
struct Memory<T> {
    d_key_transposed: Scratch<T>,
    d_value_transposed: Scratch<T>,
    d_landmark_keys: Scratch<T>,
    d_landmark_values: Scratch<T>,
    weights: Scratch<T>,
}

/// What the tokens of a part need of 32 landmarks.
struct Landmarks<'a, T> {
    first: usize,
    count: usize,
    /// Gradients of the landmarks' keys and values, landmarks along the vectors.
    d_key_transposed: &'a [TileRow<T>],
    d_value_transposed: &'a [TileRow<T>],
    log_sum_exp: TileRow<T>,
    /// `dL − D`
    shift: TileRow<T>,
}

#[inline(always)]
fn strip<S: Simd, T: Real>(
    simd: S,
    inputs: &Project<'_, T>,
    output: View<'_, T>,
    d_output: View<'_, T>,
    gradients: &ProjectGradients<'_, T>,
    strip: &Strip<'_>,
    memory: &mut Memory<T>,
) {
    let Memory {
        d_key_transposed,
        d_value_transposed,
        d_landmark_keys,
        d_landmark_values,
        weights,
    } = memory;
    let document = &strip.document;
    let (number, batch, head) = (document.number, document.batch, strip.head);
    let [_, _, r, _] = inputs.scores.shape();
    let d = inputs.key.shape()[3];
    let rows = output.rows(number, head, 0);
    let d_rows = d_output.rows(number, head, 0);
    let d_keys = Rows { width: d, ..d_rows };
    let d_values = Rows {
        data: d_rows.data.get(d..).unwrap_or(&[]),
        ..d_keys
    };
    let tiles = r.div_ceil(TILE);
    let d_key_transposed = d_key_transposed.take_rows(tiles * d);
    let d_value_transposed = d_value_transposed.take_rows(tiles * d);
    for tile in 0..tiles {
        let (first, count) = (tile * TILE, (r - tile * TILE).min(TILE));
        let (own, one) = (tile * d..(tile + 1) * d, T::ONE);
        transpose_rows(
            simd,
            d_keys.from(first),
            count,
            one,
            &mut d_key_transposed[own.clone()],
        );
        transpose_rows(
            simd,
            d_values.from(first),
            count,
            one,
            &mut d_value_transposed[own],
        );
    }
    let landmarks: Vec<_> = (0..tiles)
        .map(|tile| {
            let (first, count) = (tile * TILE, (r - tile * TILE).min(TILE));
            let own = tile * d..(tile + 1) * d;
            let mut landmarks = Landmarks {
                first,
                count,
                d_key_transposed: &d_key_transposed[own.clone()],
                d_value_transposed: &d_value_transposed[own],
                log_sum_exp: [T::ZERO; TILE],
                shift: [T::ZERO; TILE],
            };
            for i in 0..count {
                let (row, d_row) = (rows.row(first + i), d_rows.row(first + i));
                let mut delta = T::ZERO;
                for (x, dx) in row[..2 * d].iter().zip(&d_row[..2 * d]) {
                    delta += *x * *dx;
                }
                landmarks.log_sum_exp[i] = row[2 * d];
                landmarks.shift[i] = d_row[2 * d] - delta;
            }
            landmarks
        })
        .collect();
    let d_keys = copied::<S, T>(d_keys, r, d_landmark_keys);
    let d_values = copied::<S, T>(d_values, r, d_landmark_values);
    let weights = weights.take_rows(TOKENS);
    for start in strip.tokens.clone().step_by(TOKENS) {
        let tokens = start..(start + TOKENS).min(strip.tokens.end);
        let (at, count) = (document.start + start, tokens.len());
        let d_key = gradients.key.rows(batch, head, at, count);
        let d_value = gradients.value.rows(batch, head, at, count);
        // SAFETY: these tokens under this head are this call's alone.
        unsafe {
            d_key.clear();
            d_value.clear();
        }
        let weights = &mut weights[..count];
        for landmarks in &landmarks {
            inputs.read_scores(strip, tokens.clone(), landmarks.first, weights);
            for v in 0..vectors::<S, T>() {
                let at = v * Lanes::<S, T>::LEN;
                let log_sum_exp = load::<S, T>(simd, &landmarks.log_sum_exp[at..]);
                for row in weights.iter_mut() {
                    let score = load::<S, T>(simd, &row[at..]);
                    store::<S, T>(exp::<S, T>(simd, score - log_sum_exp), &mut row[at..]);
                }
            }
            for (rows, to) in [(d_keys, d_key), (d_values, d_value)] {
                let terms = Terms {
                    weights,
                    rows: rows.from(landmarks.first),
                    terms: 0..landmarks.count,
                };
                sums::<S, T, false, 1>(
                    simd,
                    [terms],
                    0..count,
                    #[inline(always)]
                    |token, offset, sum| {
                        // SAFETY: as above, and the row's last reference is gone.
                        let row = unsafe { to.row(token) };
                        match landmarks.first {
                            0 => put::<S, T>(sum, row, offset),
                            _ => add::<S, T>(simd, sum, row, offset),
                        }
                    },
                );
            }
            let factors = [
                Factors {
                    tile: landmarks.d_key_transposed,
                    rows: inputs.key.rows(batch, head, at),
                },
                Factors {
                    tile: landmarks.d_value_transposed,
                    rows: inputs.value.rows(batch, head, at),
                },
            ];
            dots::<S, T, 2>(
                simd,
                factors,
                all_vectors::<S, T>(),
                0..count,
                #[inline(always)]
                |token, v, sum| {
                    let at = v * Lanes::<S, T>::LEN;
                    let row = &mut weights[token];
                    let shift = load::<S, T>(simd, &landmarks.shift[at..]);
                    let d_score = load::<S, T>(simd, &row[at..]) * (sum + shift);
                    store::<S, T>(d_score, &mut row[at..]);
                },
            );
            write_scores(weights, landmarks, [batch, head, at], &gradients.scores);
        }
    }
}

/// Writes a tile of score gradients, a token a row, to where the scores' gradients belong.
#[inline(always)]
fn write_scores<T: Real>(
    tile: &[TileRow<T>],
    landmarks: &Landmarks<'_, T>,
    [batch, head, at]: [usize; 3],
    to: &ViewMut<'_, T>,
) {
    for (i, row) in tile.iter().enumerate() {
        let row = &row[..landmarks.count];
        // SAFETY: the scores of these tokens under this head are this call's alone.
        unsafe { to.write_along_third([batch, head, landmarks.first, at + i], row) };
    }
}
