//! The projected path: landmarks of each document (paper section 3.2, equation 3).
//!
//! ```text
//! P = softmax over the document's tokens of scores        [b, h, r, n]
//! K̄ = P K,   V̄ = P V,   L = log Σ exp scores              [b, h, r, d], [b, h, r, d], [b, h, r]
//! ```
//!
//! A document is cut into parts of [`PART`] tokens. Each part keeps, for every landmark, the
//! largest score `m`, `Σ exp(s − m)` and the sums of keys and values so weighted, under a running
//! maximum; then the parts of a document are merged in order. Neither `P` nor a copy of the scores
//! is stored.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use crate::documents::{Document, Documents, Task, tasks};
use crate::exp::exp;
use crate::products::{Terms, sums};
use crate::real::{Lanes, Real, load, splat, store};
use crate::tile::{Scratch, TILE, TileRow, add, vectors, whole_vectors};
use crate::view::{View, ViewMut};

/// Tokens of a document that one thread takes at once.
pub(crate) const PART: usize = 512;
/// Tokens whose scores, keys and values lie in the first-level cache together.
pub(crate) const TOKENS: usize = 64;

/// What [`project`](crate::project) and [`project_backward`](crate::project_backward) read.
///
/// # Shapes
///
/// `b` batch rows, `h` heads, `r` landmarks a head, `n` tokens a row, `d` head width.
#[derive(Clone, Copy, Debug)]
pub struct Project<'a, T> {
    /// `[b, h, r, n]`, fastest where the landmarks of a token and head lie side by side: memory
    /// `[b, n, h, r]`.
    pub scores: View<'a, T>,
    /// `[b, h, n, d]`, the last dimension side by side.
    pub key: View<'a, T>,
    /// `[b, h, n, d]`, the last dimension side by side.
    pub value: View<'a, T>,
    /// How documents lie in the batch.
    pub documents: Documents<'a>,
}

/// Sizes of one call.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub landmarks: usize,
    pub tokens: usize,
    pub width: usize,
}

impl<'a, T: Real> Project<'a, T> {
    pub(crate) fn sizes(&self) -> Sizes {
        let [batch, heads, landmarks, tokens] = self.scores.shape();
        let width = self.key.shape()[3];
        let shape = [batch, heads, tokens, width];
        self.key.assert_like("key", shape);
        self.value.assert_like("value", shape);
        self.documents.assert_fit(batch, tokens);
        Sizes {
            batch,
            heads,
            landmarks,
            tokens,
            width,
        }
    }

    /// The scores that tokens of a document give landmarks `first..`, a token a row of a tile; −∞
    /// for padded tokens and beyond the last landmark.
    #[inline(always)]
    pub(crate) fn read_scores(
        &self,
        task: &Task<'_>,
        tokens: std::ops::Range<usize>,
        first: usize,
        to: &mut [TileRow<T>],
    ) {
        let document = &task.document;
        let landmarks = (self.scores.shape()[2] - first).min(TILE);
        let [_, _, along, step] = self.scores.strides();
        let from = [
            document.batch,
            task.head,
            first,
            document.start + tokens.start,
        ];
        let data = self.scores.tail(from);
        for (i, (token, to)) in tokens.zip(to).enumerate() {
            if !document.is_real(token) {
                to.fill(T::NEG_INFINITY);
            } else if along == 1 && landmarks == TILE {
                to.copy_from_slice(&data[i * step..][..TILE]);
            } else {
                let (to, beyond) = to.split_at_mut(landmarks);
                for (landmark, to) in to.iter_mut().enumerate() {
                    *to = data[i * step + landmark * along];
                }
                beyond.fill(T::NEG_INFINITY);
            }
        }
    }
}

/// Landmarks of every document: `P` = softmax over the document's real tokens of `scores`, and
/// `[P·key | P·value | log Σ exp scores]` side by side (paper section 3.2).
///
/// A document without a real token gives zeros, its log-sum-exp included.
///
/// # Shapes
///
/// - output: `[documents, h, r, 2·d + 1]`, the last dimension side by side; all of it is written
///
/// # Panics
///
/// Panics if shapes or documents do not fit each other.
pub fn project<T: Real>(inputs: &Project<'_, T>, output: &mut ViewMut<'_, T>) {
    let sizes = inputs.sizes();
    let documents = inputs.documents.list(sizes.batch, sizes.tokens);
    output.assert_like(
        "output",
        [
            documents.len(),
            sizes.heads,
            sizes.landmarks,
            2 * sizes.width + 1,
        ],
    );
    let layout = Partial::new::<T>(sizes);
    let tasks = tasks(&documents, sizes.heads, PART);
    let mut partials = vec![T::ZERO; tasks.len() * layout.len()];
    let level = Level::new();
    if layout.len() > 0 {
        partials
            .par_chunks_exact_mut(layout.len())
            .zip(&tasks)
            .for_each_init(Memory::new, |memory, (partial, task)| {
                dispatch!(level, simd => part(simd, inputs, task, layout, partial, memory));
            });
    }
    // The parts of one document under one head lie next to each other, in order.
    let mut first = 0;
    let mut groups = Vec::with_capacity(documents.len() * sizes.heads);
    for document in &documents {
        let parts = document.len.div_ceil(PART);
        for head in 0..sizes.heads {
            let range = first * layout.len()..(first + parts) * layout.len();
            groups.push((document, head, &partials[range]));
            first += parts;
        }
    }
    let output = &*output;
    groups
        .into_par_iter()
        .for_each(|(document, head, partials)| {
            merge(layout, document, head, partials, output);
        });
}

/// How a part's results lie: maxima and sums of all landmarks, then a row of keys and one of
/// values for each.
#[derive(Clone, Copy)]
struct Partial {
    sizes: Sizes,
    /// `r`, filled up to whole tiles.
    lanes: usize,
    /// `d`, filled up to whole vectors.
    width: usize,
}

impl Partial {
    fn new<T: Real>(sizes: Sizes) -> Self {
        Self {
            sizes,
            lanes: sizes.landmarks.next_multiple_of(TILE),
            width: sizes.width,
        }
    }

    fn len(&self) -> usize {
        2 * self.lanes + self.sizes.landmarks * 2 * self.width
    }

    /// Maxima, sums and rows.
    fn split<'p, T>(&self, partial: &'p [T]) -> (&'p [T], &'p [T], &'p [T]) {
        let (maxima, rest) = partial.split_at(self.lanes);
        let (totals, rows) = rest.split_at(self.lanes);
        (maxima, totals, rows)
    }
}

struct Memory<T> {
    weights: Scratch<T>,
    keys: Scratch<T>,
    values: Scratch<T>,
}

impl<T: Real> Memory<T> {
    fn new() -> Self {
        Self {
            weights: Scratch::new(),
            keys: Scratch::new(),
            values: Scratch::new(),
        }
    }
}

#[inline(always)]
fn part<S: Simd, T: Real>(
    simd: S,
    inputs: &Project<'_, T>,
    task: &Task<'_>,
    layout: Partial,
    partial: &mut [T],
    memory: &mut Memory<T>,
) {
    let lanes = Lanes::<S, T>::LEN;
    let d = layout.width;
    let document = &task.document;
    let (maxima, rest) = partial.split_at_mut(layout.lanes);
    let (totals, rows) = rest.split_at_mut(layout.lanes);
    maxima.fill(T::NEG_INFINITY);
    let weights = memory.weights.take_rows(TOKENS);
    let zero = splat::<S, T>(simd, T::ZERO);
    let minus_infinity = splat::<S, T>(simd, T::NEG_INFINITY);
    for start in task.tokens.clone().step_by(TOKENS) {
        let tokens = start..(start + TOKENS).min(task.tokens.end);
        let count = tokens.len();
        if !document.has_real(tokens.clone()) {
            continue;
        }
        let at = document.start + start;
        let key = inputs.key.rows(document.batch, task.head, at);
        let key = whole_vectors::<S, T>(key, count, &mut memory.keys);
        let value = inputs.value.rows(document.batch, task.head, at);
        let value = whole_vectors::<S, T>(value, count, &mut memory.values);
        for first in (0..layout.sizes.landmarks).step_by(TILE) {
            let landmarks = (layout.sizes.landmarks - first).min(TILE);
            let weights = &mut weights[..count];
            inputs.read_scores(task, tokens.clone(), first, weights);
            let mut factors = [T::ONE; TILE];
            for v in 0..vectors::<S, T>() {
                let at = first + v * lanes;
                let old = load::<S, T>(simd, &maxima[at..]);
                let mut max = old;
                for row in weights.iter() {
                    max = max.max(load::<S, T>(simd, &row[v * lanes..]));
                }
                store::<S, T>(max, &mut maxima[at..]);
                // A landmark that has met padding alone: exp(−∞ − 0) is 0, not NaN.
                let max = max.simd_eq(minus_infinity).select(zero, max);
                let factor = exp::<S, T>(simd, old - max);
                store::<S, T>(factor, &mut factors[v * lanes..]);
                let mut total = load::<S, T>(simd, &totals[at..]) * factor;
                for row in weights.iter_mut() {
                    let weight = exp::<S, T>(simd, load::<S, T>(simd, &row[v * lanes..]) - max);
                    store::<S, T>(weight, &mut row[v * lanes..]);
                    total += weight;
                }
                store::<S, T>(total, &mut totals[at..]);
            }
            let rows = &mut rows[first * 2 * d..][..landmarks * 2 * d];
            for (row, factor) in rows.chunks_exact_mut((2 * d).max(1)).zip(factors) {
                if factor != T::ONE {
                    row.iter_mut().for_each(|x| *x *= factor);
                }
            }
            for (features, side) in [(key, 0), (value, d)] {
                let terms = Terms {
                    weights,
                    rows: features,
                    terms: 0..count,
                };
                sums::<S, T, true, 1>(
                    simd,
                    [terms],
                    0..landmarks,
                    #[inline(always)]
                    |landmark, offset, sum| {
                        let row = &mut rows[landmark * 2 * d + side..][..d];
                        add::<S, T>(simd, sum, row, offset);
                    },
                );
            }
        }
    }
}

/// Merges the parts of one document under one head by log-sum-exp.
fn merge<T: Real>(
    layout: Partial,
    document: &Document<'_>,
    head: usize,
    partials: &[T],
    output: &ViewMut<'_, T>,
) {
    let d = layout.width;
    for landmark in 0..layout.sizes.landmarks {
        // SAFETY: this document, head and landmark are this call's alone.
        let row = unsafe { output.row(document.number, head, landmark) };
        row.fill(T::ZERO);
        let parts = || {
            partials
                .chunks_exact(layout.len())
                .map(|part| layout.split(part))
        };
        let mut max = T::NEG_INFINITY;
        for (maxima, ..) in parts() {
            // Not `max`, which would lose a NaN.
            if !(maxima[landmark] <= max) {
                max = maxima[landmark];
            }
        }
        if max == T::NEG_INFINITY {
            continue;
        }
        let mut total = T::ZERO;
        for (maxima, totals, rows) in parts() {
            let factor = (maxima[landmark] - max).exp();
            if factor == T::ZERO {
                continue;
            }
            total += totals[landmark] * factor;
            let rows = &rows[landmark * 2 * d..][..2 * d];
            for (to, from) in row.iter_mut().zip(rows) {
                *to += *from * factor;
            }
        }
        let (sums, log_sum_exp) = row.split_at_mut(2 * d);
        sums.iter_mut().for_each(|x| *x /= total);
        log_sum_exp[0] = max + total.ln();
    }
}
