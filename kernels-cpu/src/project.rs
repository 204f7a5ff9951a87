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

use std::ops::Range;

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use transformer_ls_kernels::ProjectShapes;

use crate::documents::{Cut, Document, Documents, Strip};
use crate::exp::exp;
use crate::products::{Terms, sums};
use crate::real::{Lanes, Real, load, splat, store};
use crate::tile::{Scratch, TILE, TileRow, add, vectors, whole_vectors};
use crate::view::{View, ViewMut};

/// Tokens of a document that one thread takes at once.
pub(crate) const PART: usize = 1024;
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
        let shapes = ProjectShapes {
            scores: self.scores.shape(),
            key: self.key.shape(),
            value: self.value.shape(),
        };
        shapes.check();
        for (name, view) in [("key", self.key), ("value", self.value)] {
            view.assert_rows(name);
        }
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
        strip: &Strip<'_>,
        tokens: Range<usize>,
        first: usize,
        to: &mut [TileRow<T>],
    ) {
        let document = &strip.document;
        let landmarks = (self.scores.shape()[2] - first).min(TILE);
        let [_, _, along, step] = self.scores.strides();
        let from = [
            document.batch,
            strip.head,
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
    let layout = Partial::new(sizes);
    let cut = Cut::new(sizes.heads, sizes.width * size_of::<T>(), PART);
    let tasks = cut.tasks(&documents);
    let mut partials = vec![T::ZERO; tasks.len() * cut.group * layout.len()];
    let level = Level::new();
    partials
        .par_chunks_exact_mut(cut.group * layout.len())
        .zip(&tasks)
        .for_each_init(Memory::default, |memory, (partials, task)| {
            for strip in task.strips(TOKENS) {
                let partial = &mut partials[strip.number * layout.len()..][..layout.len()];
                dispatch!(level, simd => tile(simd, inputs, &strip, layout, partial, memory));
            }
        });
    let output = &*output;
    cut.by_head(&documents, &partials, layout.len())
        .into_par_iter()
        .for_each(|(document, head, partials)| merge(layout, document, head, &partials, output));
}

/// How a part's results lie: for each 32 landmarks their sums and their maxima, then a row of keys
/// and values for each landmark.
#[derive(Clone, Copy)]
struct Partial {
    sizes: Sizes,
    /// `r`, filled up to whole tiles.
    lanes: usize,
    width: usize,
}

impl Partial {
    fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            lanes: sizes.landmarks.next_multiple_of(TILE),
            width: sizes.width,
        }
    }

    /// Never 0, so that each part has memory, be there anything to put into it or not.
    fn len(&self) -> usize {
        (2 * self.lanes + self.sizes.landmarks * 2 * self.width).max(1)
    }

    /// Sum, maximum, and sums of keys and values of one landmark.
    fn of_landmark<'p, T: Copy>(&self, partial: &'p [T], landmark: usize) -> (T, T, &'p [T]) {
        let (totals, rows) = partial.split_at(2 * self.lanes);
        let totals = &totals[landmark / TILE * 2 * TILE..];
        let lane = landmark % TILE;
        let row = &rows[landmark * 2 * self.width..][..2 * self.width];
        (totals[lane], totals[TILE + lane], row)
    }
}

#[derive(Default)]
struct Memory<T> {
    weights: Scratch<T>,
    keys: Scratch<T>,
    values: Scratch<T>,
}

/// Takes the tokens of a tile into the part's results.
#[inline(always)]
fn tile<S: Simd, T: Real>(
    simd: S,
    inputs: &Project<'_, T>,
    strip: &Strip<'_>,
    layout: Partial,
    partial: &mut [T],
    memory: &mut Memory<T>,
) {
    let document = &strip.document;
    let count = strip.tokens.len();
    let at = document.start + strip.tokens.start;
    let d = layout.width;
    let (totals, rows) = partial.split_at_mut(2 * layout.lanes);
    if !document.has_real(strip.tokens.clone()) {
        return;
    }
    let key = inputs.key.rows(document.batch, strip.head, at);
    let key = whole_vectors::<S, T>(key, count, &mut memory.keys);
    let value = inputs.value.rows(document.batch, strip.head, at);
    let value = whole_vectors::<S, T>(value, count, &mut memory.values);
    let weights = memory.weights.take_rows(count);
    for first in (0..layout.sizes.landmarks).step_by(TILE) {
        let landmarks = (layout.sizes.landmarks - first).min(TILE);
        inputs.read_scores(strip, strip.tokens.clone(), first, weights);
        let factors = running_softmax(simd, weights, &mut totals[2 * first..][..2 * TILE]);
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

/// Turns scores into `exp(score − maximum)` and takes them into the running sums and maxima of 32
/// landmarks. Gives what earlier sums under the old maxima are to be multiplied by.
#[inline(always)]
fn running_softmax<S: Simd, T: Real>(
    simd: S,
    scores: &mut [TileRow<T>],
    totals: &mut [T],
) -> TileRow<T> {
    let lanes = Lanes::<S, T>::LEN;
    let zero = splat::<S, T>(simd, T::ZERO);
    let minus_infinity = splat::<S, T>(simd, T::NEG_INFINITY);
    let (totals, maxima) = totals.split_at_mut(TILE);
    let mut factors = [T::ONE; TILE];
    for v in 0..vectors::<S, T>() {
        let at = v * lanes;
        let old_total = load::<S, T>(simd, &totals[at..]);
        // A landmark that has met no token yet has the sum 0, whatever its maximum says.
        let old = (old_total.simd_eq(zero)).select(minus_infinity, load(simd, &maxima[at..]));
        let mut max = old;
        for row in scores.iter() {
            max = max.max(load::<S, T>(simd, &row[at..]));
        }
        // Padding alone: exp(−∞ − 0) is 0, not NaN.
        let max = max.simd_eq(minus_infinity).select(zero, max);
        let factor = exp::<S, T>(simd, old - max);
        let mut total = old_total * factor;
        for row in scores.iter_mut() {
            let weight = exp::<S, T>(simd, load::<S, T>(simd, &row[at..]) - max);
            store::<S, T>(weight, &mut row[at..]);
            total += weight;
        }
        // Nothing is there yet to be multiplied.
        let factor = old_total.simd_eq(zero).select(splat(simd, T::ONE), factor);
        store::<S, T>(factor, &mut factors[at..]);
        store::<S, T>(max, &mut maxima[at..]);
        store::<S, T>(total, &mut totals[at..]);
    }
    factors
}

/// Merges the parts of one document under one head by log-sum-exp.
fn merge<T: Real>(
    layout: Partial,
    document: &Document<'_>,
    head: usize,
    parts: &[&[T]],
    output: &ViewMut<'_, T>,
) {
    let d = layout.width;
    let landmarks = layout.sizes.landmarks;
    let rows = output.rows(document.number, head, 0, landmarks);
    for landmark in 0..landmarks {
        // SAFETY: this document under this head is this call's alone.
        let row = unsafe { rows.row(landmark) };
        row.fill(T::ZERO);
        // A part that holds padding alone has the sum 0. NaN is not 0 and goes on.
        let own = || {
            let parts = parts.iter().map(|part| layout.of_landmark(part, landmark));
            parts.filter(|(total, ..)| *total != T::ZERO)
        };
        let Some(max) = own().map(|(_, max, _)| max).reduce(largest) else {
            continue;
        };
        let mut total = T::ZERO;
        for (part_total, part_max, sums) in own() {
            let factor = (part_max - max).exp();
            total += part_total * factor;
            for (to, from) in row.iter_mut().zip(sums) {
                *to += *from * factor;
            }
        }
        let (sums, log_sum_exp) = row.split_at_mut(2 * d);
        sums.iter_mut().for_each(|x| *x /= total);
        log_sum_exp[0] = max + total.ln();
    }
}

fn largest<T: PartialOrd>(a: T, b: T) -> T {
    if a >= b { a } else { b }
}
