//! The windowed path joined with the landmarks (paper section 3.3): one softmax per query.
//!
//! ```text
//! S = scale · Q [K̄ | K_window + R]ᵀ (+ bias)             A = softmax S,   L = log Σ exp S
//! C = (A ∘ Z) [V̄ | V_window]                              Z: dropout, 0 or 1 / (1 − p)
//! ```
//!
//! A tile of queries is transposed, so that a score of the whole tile for one key is a few
//! vectors, and the softmax runs along the columns. A tile's scores, `32 × (r + w + 2e + 31)` at
//! most, are the only ones that ever exist. (Of other patterns, `r` and the keys that it sees.)

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::attend_query::{self, attend_query};
use crate::attend_tile::{Columns, row_dots, tile_dots};
use crate::documents::{Cut, Document, Documents, Strip, Task};
use transformer_ls_kernels::{AttendShapes, Dropout, Visibility};

use crate::exp::exp;
use crate::padded_bias::PaddedBias;
use crate::products::sums;
use crate::real::{Lanes, Real, load, splat, store};
use crate::sight::{BLOCK, Sight};
use crate::tile::{Scratch, TILE, TileRow, add, put, transpose_rows, vectors, whole_vectors};
use crate::tile_dropout::TileDropout;
use crate::view::{Rows, RowsMut, View, ViewMut};

/// Queries of a document that one thread takes at once.
const PART: usize = 256;
/// Queries for which no thread is woken.
const FEW: usize = 4;
/// Queries that are taken under one head before the next head's turn.
pub(crate) const STRIP: usize = 128;

/// What [`attend`](crate::attend) and [`attend_backward`](crate::attend_backward) read.
///
/// # Shapes
///
/// `b` batch rows, `h` heads, `r` landmark rows a head, `n` tokens a row, `d` head width. The last
/// dimension of every tensor lies side by side; the others may have any strides. Where every row is
/// one document without a mask, there may be another number of keys, `m`, than of queries.
#[derive(Clone, Copy, Debug)]
pub struct Attend<'a, T> {
    /// `[b, h, n, d]`
    pub query: View<'a, T>,
    /// `[b, h, m, d]`
    pub key: View<'a, T>,
    /// `[b, h, m, d]`
    pub value: View<'a, T>,
    /// `[documents, h, r, d]`; `r` may be 0.
    pub landmark_key: View<'a, T>,
    /// `[documents, h, r, d]`
    pub landmark_value: View<'a, T>,
    /// `[documents, h, r]` in row-major order: what is added to all scores of a landmark.
    pub landmark_bias: Option<&'a [T]>,
    /// `[h, entries]` in row-major order: what is added to the score of a window key for a query,
    /// at the entry of their [`Visibility::offset`]. There are as many entries as offsets, or `r` more:
    /// behind those of the window what is added to the score of a landmark, by its
    /// [`Visibility::landmark_offset`].
    pub bias: Option<&'a [T]>,
    /// `[h, entries, d]` in row-major order: keys by that entry, which queries meet besides the
    /// others.
    pub relative_keys: Option<&'a [T]>,
    /// How documents lie in the batch.
    pub documents: Documents<'a>,
    /// What a query sees.
    pub visibility: Visibility,
    /// What scores are multiplied by, usually `1 / √d`.
    pub scale: f64,
    /// Dropout of the probabilities.
    pub dropout: Dropout,
}

/// Sizes of one call.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub tokens: usize,
    pub keys: usize,
    pub width: usize,
    pub landmarks: usize,
    /// Entries of a table by offset; 0 without one.
    pub entries: usize,
}

impl<T: Real> Attend<'_, T> {
    pub(crate) fn sizes(&self) -> Sizes {
        let [batch, heads, tokens, width] = self.query.shape();
        let table = |table: &[T], row: usize| table.len().div_ceil((heads * row).max(1));
        let shapes = AttendShapes {
            query: self.query.shape(),
            key: self.key.shape(),
            value: self.value.shape(),
            landmarks: Some([self.landmark_key.shape(), self.landmark_value.shape()]),
            landmark_bias: (self.landmark_bias).map(|bias| {
                let documents = self.documents.count(batch);
                [documents, heads, table(bias, documents)]
            }),
            bias: self.bias.map(|bias| [heads, table(bias, 1)]),
            relative_keys: (self.relative_keys).map(|keys| [heads, table(keys, width), width]),
        };
        let same = !matches!(self.documents, Documents::Rows { mask: None });
        shapes.check(&self.visibility, self.documents.count(batch), same);
        self.documents.assert_fit(batch, tokens);
        for (name, view) in [
            ("query", self.query),
            ("key", self.key),
            ("value", self.value),
            ("landmark_key", self.landmark_key),
            ("landmark_value", self.landmark_value),
        ] {
            view.assert_rows(name);
        }
        let keys = self.key.shape()[2];
        let landmarks = self.landmark_key.shape()[2];
        let entries = shapes.entries().unwrap_or(0);
        Sizes {
            batch,
            heads,
            tokens,
            keys,
            width,
            landmarks,
            entries,
        }
    }

    /// All documents of the batch.
    pub(crate) fn list(&self, sizes: Sizes) -> Vec<Document<'_>> {
        let mut documents = self.documents.list(sizes.batch, sizes.tokens);
        if sizes.keys != sizes.tokens {
            for document in &mut documents {
                document.keys = sizes.keys;
            }
        }
        documents
    }

    /// The relative keys of a head, and how many they are.
    pub(crate) fn relative_keys(&self, head: usize) -> (Rows<'_, T>, usize) {
        let [_, _, _, width] = self.query.shape();
        let (data, count) = match self.relative_keys {
            None => (&[][..], 0),
            Some(keys) => {
                let [_, heads, _, _] = self.query.shape();
                let count = keys.len() / (heads * width);
                (&keys[head * count * width..][..count * width], count)
            }
        };
        let step = width;
        (Rows { data, step, width }, count)
    }

    /// What is added to the scores of a document's landmarks under a head.
    pub(crate) fn landmark_bias(&self, document: usize, head: usize) -> &[T] {
        let [_, heads, landmarks, _] = self.landmark_key.shape();
        let at = (document * heads + head) * landmarks;
        self.landmark_bias
            .map_or(&[], |bias| &bias[at..at + landmarks])
    }

    pub(crate) fn tile_dropout(&self, strip: &Strip<'_>) -> Option<TileDropout<T>> {
        (!self.dropout.is_off())
            .then(|| TileDropout::new(self.dropout, strip.document.number, strip.head))
    }
}

/// Attention of every query over the landmarks of its document and the keys of its window, under
/// one softmax; and the log-sum-exp of each query's scores, dropout left out.
///
/// Rows of padded queries, and rows that see nothing, are 0, their log-sum-exp too.
///
/// # Shapes
///
/// - output: `[b, h, n, d]`, the last dimension side by side; log_sum_exp: `[b, h, n]` in
///   row-major order. All of both is written.
///
/// # Panics
///
/// Panics if shapes or documents do not fit each other.
pub fn attend<T: Real>(inputs: &Attend<'_, T>, output: &mut ViewMut<'_, T>, log_sum_exp: &mut [T]) {
    let sizes = inputs.sizes();
    output.assert_like("output", inputs.query.shape());
    let shape = [sizes.batch, sizes.heads, sizes.tokens, 1];
    assert_eq!(
        log_sum_exp.len(),
        sizes.batch * sizes.heads * sizes.tokens,
        "the log-sum-exp's length, b·h·n"
    );
    let log_sum_exp = ViewMut::contiguous(log_sum_exp, shape);
    let output = &*output;
    let level = Level::new();
    let whole = matches!(inputs.documents, Documents::Rows { mask: None });
    if sizes.tokens == 1 && whole && inputs.dropout.is_off() {
        let run = |memory: &mut attend_query::Memory<T>, batch: usize| {
            dispatch!(level, simd => attend_query(simd, inputs, batch, output, &log_sum_exp, memory));
        };
        let all = 0..sizes.batch;
        match sizes.batch <= FEW {
            true => {
                let memory = &mut attend_query::Memory::default();
                all.for_each(|batch| run(memory, batch));
            }
            false => all
                .into_par_iter()
                .for_each_init(attend_query::Memory::default, run),
        }
        return;
    }
    let documents = inputs.list(sizes);
    let tasks = Cut::new(sizes.heads, sizes.width * size_of::<T>(), PART).tasks(&documents);
    let run = |memory: &mut Memory<T>, task: &Task<'_>| {
        for part in task.strips(STRIP) {
            dispatch!(level, simd => strip(simd, inputs, &part, output, &log_sum_exp, memory));
        }
    };
    if sizes.batch * sizes.tokens <= FEW {
        let memory = &mut Memory::default();
        tasks.iter().for_each(|task| run(memory, task));
        return;
    }
    tasks.par_iter().for_each_init(Memory::default, run);
}

#[derive(Default)]
struct Memory<T> {
    query: Scratch<T>,
    scores: Scratch<T>,
    landmark_values: Scratch<T>,
    values: Scratch<T>,
    bias: Scratch<T>,
    relative: Scratch<T>,
    sight: Sight<T>,
}

#[inline(always)]
fn strip<S: Simd, T: Real>(
    simd: S,
    inputs: &Attend<'_, T>,
    strip: &Strip<'_>,
    output: &ViewMut<'_, T>,
    log_sum_exp: &ViewMut<'_, T>,
    memory: &mut Memory<T>,
) {
    let visibility = inputs.visibility;
    let document = &strip.document;
    let (batch, head) = (document.batch, strip.head);
    let [_, heads, landmarks, d] = inputs.landmark_key.shape();
    let landmark_keys = inputs.landmark_key.rows(document.number, head, 0);
    let landmark_values = inputs.landmark_value.rows(document.number, head, 0);
    let landmark_values =
        whole_vectors::<S, T>(landmark_values, landmarks, &mut memory.landmark_values);
    let bias = PaddedBias::new(inputs.bias, head, heads, visibility, &mut memory.bias);
    let landmark_bias = inputs.landmark_bias(document.number, head);
    let (relative_keys, entries) = inputs.relative_keys(head);
    let dropout = inputs.tile_dropout(strip);
    let transposed = memory.query.take_rows(d);
    for start in strip.tokens.clone().step_by(TILE) {
        let queries = start..(start + TILE).min(strip.tokens.end);
        let (at, count) = (document.start + start, queries.len());
        let mut sums_of = [T::ZERO; TILE];
        let mut log_sums = [T::ZERO; TILE];
        if document.has_real(queries.clone()) {
            let sight = &mut memory.sight;
            sight.set(&visibility, queries.clone(), document.keys, landmarks);
            let columns = Columns {
                landmarks,
                sight,
                queries: count,
            };
            let scores = memory.scores.take_rows(columns.count());
            let queries_at = inputs.query.rows(batch, head, at);
            transpose_rows(
                simd,
                queries_at,
                count,
                T::from_f64(inputs.scale),
                transposed,
            );
            let keys = |key| inputs.key.rows(batch, head, document.start + key);
            tile_dots(simd, transposed, landmark_keys, keys, &columns, scores);
            let relative = memory.relative.take_rows(entries);
            row_dots(simd, transposed, relative_keys, count, relative);
            columns.add_to_landmarks(landmark_bias, &bias, relative, scores);
            columns.hide(simd, document, start, &bias, relative, scores);
            softmax(simd, &columns, scores, &mut sums_of, &mut log_sums);
            if let Some(dropout) = dropout {
                let kept = dropout.of_queries(start, landmarks, visibility);
                columns.drop(simd, &kept, scores);
            }
            for (lane, token) in queries.enumerate() {
                if !document.is_real(token) || sums_of[lane] == T::ZERO {
                    (sums_of[lane], log_sums[lane]) = (T::ZERO, T::ZERO);
                } else {
                    sums_of[lane] = T::ONE / sums_of[lane];
                }
            }
            let hull = columns.sight.hull();
            let values = inputs.value.rows(batch, head, document.start + hull.start);
            let values = whole_vectors::<S, T>(values, hull.len(), &mut memory.values);
            let to = Output {
                rows: output.rows(batch, head, at, count),
                factors: &sums_of,
            };
            weigh(simd, &columns, scores, landmark_values, values, &to);
        } else {
            // SAFETY: these tokens under this head are this call's alone.
            unsafe { output.rows(batch, head, at, count).clear() };
        }
        // SAFETY: as above.
        unsafe { log_sum_exp.write_along_third([batch, head, at, 0], &log_sums[..count]) };
    }
}

/// Turns scores into `exp(score − maximum)`; gives their sums, and the logarithms of the sums of
/// `exp score`.
#[inline(always)]
fn softmax<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    scores: &mut [TileRow<T>],
    sums_of: &mut TileRow<T>,
    log_sums: &mut TileRow<T>,
) {
    let lanes = Lanes::<S, T>::LEN;
    let zero = splat::<S, T>(simd, T::ZERO);
    let minus_infinity = splat::<S, T>(simd, T::NEG_INFINITY);
    let mut maxima = [T::ZERO; TILE];
    for v in 0..vectors::<S, T>() {
        let at = v * lanes;
        let mut max = minus_infinity;
        columns.for_computed::<S>(
            v,
            scores,
            #[inline(always)]
            |row| max = max.max(load::<S, T>(simd, &row[at..])),
        );
        // A query that sees nothing: exp(−∞ − 0) is 0, not NaN.
        let max = max.simd_eq(minus_infinity).select(zero, max);
        let mut sum = zero;
        columns.for_computed::<S>(
            v,
            scores,
            #[inline(always)]
            |row| {
                let weight = exp::<S, T>(simd, load::<S, T>(simd, &row[at..]) - max);
                store::<S, T>(weight, &mut row[at..]);
                sum += weight;
            },
        );
        store::<S, T>(sum, &mut sums_of[at..]);
        store::<S, T>(max, &mut maxima[at..]);
    }
    for lane in 0..TILE {
        log_sums[lane] = maxima[lane] + sums_of[lane].ln();
    }
}

/// Where a tile's output goes.
struct Output<'a, T> {
    rows: RowsMut<'a, T>,
    /// What each query's sum is multiplied by.
    factors: &'a TileRow<T>,
}

/// Writes the sums of landmark values and window values, weighted. `values` begin with the first key
/// of the sight's hull.
#[inline(always)]
fn weigh<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    weights: &[TileRow<T>],
    landmark_values: Rows<'_, T>,
    values: Rows<'_, T>,
    to: &Output<'_, T>,
) {
    for first in (0..to.rows.len()).step_by(BLOCK) {
        let queries = first..(first + BLOCK).min(to.rows.len());
        sums::<S, T, true, 2>(
            simd,
            columns.terms(first, weights, landmark_values, values),
            queries.clone(),
            #[inline(always)]
            |query, offset, sum| {
                // SAFETY: these tokens under this head are this call's alone, and each row's last
                // reference is gone.
                let row = unsafe { to.rows.row(query) };
                put::<S, T>(sum * to.factors[query], row, offset);
            },
        );
        for terms in columns.more_terms(first, weights, values) {
            sums::<S, T, true, 1>(
                simd,
                [terms],
                queries.clone(),
                #[inline(always)]
                |query, offset, sum| {
                    // SAFETY: as above.
                    let row = unsafe { to.rows.row(query) };
                    add::<S, T>(simd, sum * to.factors[query], row, offset);
                },
            );
        }
    }
}
