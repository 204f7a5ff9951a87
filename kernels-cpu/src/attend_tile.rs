//! The columns of a tile of queries: landmarks first, then the keys of the tile's windows.

use std::ops::Range;

use fearless_simd::prelude::*;

use crate::documents::Document;
use crate::exp::exp;
use crate::padded_bias::{PaddedBias, Places};
use crate::products::{Factors, Terms, dots};
use crate::real::{Lanes, Real, load, splat, store};
use crate::sight::{BLOCK, Run, Sight};
use crate::tile::{TILE, TileRow, vectors};
use crate::tile_dropout::Kept;
use crate::view::Rows;

/// Lanes for which one range of a run's keys is computed: a vector, or a block if that is longer.
#[inline(always)]
const fn group<S: Simd, T: Real>() -> usize {
    if Lanes::<S, T>::LEN > BLOCK {
        Lanes::<S, T>::LEN
    } else {
        BLOCK
    }
}

/// What a tile of queries sees: `landmarks` columns, then one for each key of its sight's runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a, T> {
    pub landmarks: usize,
    pub sight: &'a Sight<T>,
    /// Lanes with queries, from the first on: products of the others may be left out.
    pub queries: usize,
}

/// Keys of a run that are computed for a vector, counted from the run's first.
#[inline(always)]
fn keys_of<S: Simd, T: Real>(run: &Run<T>, vector: usize) -> Range<usize> {
    let group = group::<S, T>();
    let first = vector * Lanes::<S, T>::LEN / group * group;
    run.of_queries(first..first + group)
}

/// A range, counted from `by` earlier.
#[inline(always)]
fn shifted(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

impl<'a, T: Real> Columns<'a, T> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.landmarks + self.sight.width
    }

    /// The columns of a run.
    #[inline(always)]
    pub fn of_run(&self, run: &Run<T>) -> Range<usize> {
        let first = self.landmarks + run.column;
        first..first + run.keys.len()
    }

    /// Calls with the rows of all columns that are computed for a vector: the landmarks', then each
    /// run's.
    #[inline(always)]
    pub fn for_computed<S: Simd>(
        &self,
        vector: usize,
        columns: &mut [TileRow<T>],
        mut call: impl FnMut(&mut TileRow<T>),
    ) {
        let (landmarks, window) = columns.split_at_mut(self.landmarks);
        for row in landmarks {
            call(row);
        }
        for run in &self.sight.runs {
            for row in &mut window[shifted(&keys_of::<S, T>(run, vector), run.column)] {
                call(row);
            }
        }
    }

    /// What the block of queries from `first` on sums up by these weights: landmark rows, and rows of
    /// the first run. `rows` begin with the first key of the sight's hull.
    #[inline(always)]
    pub fn terms<'t>(
        &self,
        first: usize,
        weights: &'t [TileRow<T>],
        landmark_rows: Rows<'t, T>,
        rows: Rows<'t, T>,
    ) -> [Terms<'t, T>; 2] {
        let (of_landmarks, of_runs) = weights.split_at(self.landmarks);
        let of_first = match self.sight.runs.first() {
            Some(run) => run.of_queries(first..first + BLOCK),
            None => 0..0,
        };
        [
            Terms {
                weights: of_landmarks,
                rows: landmark_rows,
                terms: 0..self.landmarks,
            },
            Terms {
                weights: of_runs,
                rows,
                terms: of_first,
            },
        ]
    }

    /// What it sums up besides: rows of the other runs that the block sees.
    #[inline(always)]
    pub fn more_terms<'t>(
        &self,
        first: usize,
        weights: &'t [TileRow<T>],
        rows: Rows<'t, T>,
    ) -> impl Iterator<Item = Terms<'t, T>> + use<'t, '_, T> {
        let start = self.sight.hull().start;
        let of_runs = &weights[self.landmarks..];
        let others = self.sight.runs.get(1..).unwrap_or_default();
        others
            .iter()
            .map(move |run| Terms {
                weights: &of_runs[run.column..],
                rows: rows.from(run.keys.start - start),
                terms: run.of_queries(first..first + BLOCK),
            })
            .filter(|terms| !terms.terms.is_empty())
    }

    /// Adds to landmark scores what goes by landmark, and what goes by the landmarks that come after it:
    /// the bias and the products with the relative keys (`relative`, the window's entries first).
    #[inline(always)]
    pub fn add_to_landmarks(
        &self,
        landmark_bias: &[T],
        bias: &PaddedBias<'_, T>,
        relative: &[TileRow<T>],
        scores: &mut [TileRow<T>],
    ) {
        for (row, bias) in scores.iter_mut().zip(landmark_bias) {
            for score in row {
                *score += *bias;
            }
        }
        let relative = self.of_landmarks(relative, &bias.places);
        if relative.is_empty() && bias.landmarks.is_empty() {
            return;
        }
        for (lanes, count) in &self.sight.landmarks_of {
            for (landmark, row) in scores[..*count].iter_mut().enumerate() {
                let offset = count - 1 - landmark;
                let row = &mut row[lanes.clone()];
                if let Some(bias) = bias.landmarks.get(offset) {
                    for score in &mut *row {
                        *score += *bias;
                    }
                }
                if let Some(own) = relative.get(offset) {
                    for (score, own) in row.iter_mut().zip(&own[lanes.clone()]) {
                        *score += *own;
                    }
                }
            }
        }
    }

    /// Of rows by offset those of landmarks, which come behind the window's, if there are any.
    #[inline(always)]
    fn of_landmarks<'r>(&self, by_offset: &'r [TileRow<T>], places: &Places) -> &'r [TileRow<T>] {
        by_offset.get(places.offsets()..).unwrap_or_default()
    }

    /// Undoes [`add_to_landmarks`](Self::add_to_landmarks) for a bias: what its entries for landmarks had
    /// for gradients.
    #[inline(always)]
    pub fn add_bias_gradients(&self, d_scores: &[TileRow<T>], totals: &mut [T]) {
        for (lanes, count) in &self.sight.landmarks_of {
            for (landmark, row) in d_scores[..*count].iter().enumerate() {
                if let Some(total) = totals.get_mut(count - 1 - landmark) {
                    *total += sum_of(&row[lanes.clone()]);
                }
            }
        }
    }

    /// The same for relative keys, whose entries for landmarks get a row each.
    #[inline(always)]
    pub fn scatter_landmarks(&self, d_scores: &[TileRow<T>], by_offset: &mut [TileRow<T>]) {
        for (lanes, count) in &self.sight.landmarks_of {
            for (landmark, row) in d_scores[..*count].iter().enumerate() {
                if let Some(own) = by_offset.get_mut(count - 1 - landmark) {
                    own[lanes.clone()].copy_from_slice(&row[lanes.clone()]);
                }
            }
        }
    }

    /// Adds to window scores what goes by offset, the bias and the products with the relative keys
    /// (`relative`, a row an offset, if there are any), and makes −∞ of all that a query does not see.
    #[inline(always)]
    pub fn hide<S: Simd>(
        &self,
        simd: S,
        document: &Document<'_>,
        first_query: usize,
        bias: &PaddedBias<'_, T>,
        relative: &[TileRow<T>],
        scores: &mut [TileRow<T>],
    ) {
        let lanes = Lanes::<S, T>::LEN;
        let hidden = splat::<S, T>(simd, T::NEG_INFINITY);
        if let Some(counts) = &self.sight.landmarks {
            for v in 0..vectors::<S, T>() {
                let at = v * lanes;
                let count = load::<S, T>(simd, &counts[at..]);
                let mut landmark = splat::<S, T>(simd, T::ZERO);
                for row in &mut scores[..self.landmarks] {
                    let score = load::<S, T>(simd, &row[at..]);
                    let score = landmark.simd_lt(count).select(score, hidden);
                    store::<S, T>(score, &mut row[at..]);
                    landmark += T::ONE;
                }
            }
        }
        let relative = &relative[..relative.len().min(bias.places.offsets())];
        for run in &self.sight.runs {
            for v in 0..vectors::<S, T>() {
                let at = v * lanes;
                let first = load::<S, T>(simd, &run.first_lanes[at..]);
                let end = load::<S, T>(simd, &run.end_lanes[at..]);
                let keys = keys_of::<S, T>(run, v);
                let mut key = splat::<S, T>(simd, T::from_index(keys.start as isize));
                let columns = shifted(&keys, self.landmarks + run.column);
                for (i, row) in keys.zip(&mut scores[columns]) {
                    let token = run.keys.start + i;
                    let score = load::<S, T>(simd, &row[at..]);
                    let score = bias.add(simd, first_query + at, token, score);
                    let score = match relative {
                        [] => score,
                        _ => {
                            let own = bias.places.gather::<S, T>(relative, first_query, at, token);
                            score + load::<S, T>(simd, &own)
                        }
                    };
                    let seen = key.simd_ge(first) & key.simd_lt(end);
                    let score = match document.is_real(token) {
                        true => seen.select(score, hidden),
                        false => hidden,
                    };
                    store::<S, T>(score, &mut row[at..]);
                    key += T::ONE;
                }
            }
        }
    }

    /// Sets the window's columns to 0 for vectors that do not compute them.
    #[inline(always)]
    pub fn clear<S: Simd>(&self, simd: S, columns: &mut [TileRow<T>]) {
        let lanes = Lanes::<S, T>::LEN;
        let zero = splat::<S, T>(simd, T::ZERO);
        for run in &self.sight.runs {
            let window = &mut columns[self.of_run(run)];
            for v in 0..vectors::<S, T>() {
                let keys = keys_of::<S, T>(run, v);
                let (before, rest) = window.split_at_mut(keys.start);
                let after = &mut rest[keys.len()..];
                for row in before.iter_mut().chain(after) {
                    store::<S, T>(zero, &mut row[v * lanes..]);
                }
            }
        }
    }

    /// Multiplies probabilities, or gradients for them, by their dropout factors.
    #[inline(always)]
    pub fn drop<S: Simd>(&self, simd: S, kept: &Kept<T>, columns: &mut [TileRow<T>]) {
        for (i, row) in columns[..self.landmarks].iter_mut().enumerate() {
            multiply(simd, row, &kept.factors(&[0; TILE], i));
        }
        for run in &self.sight.runs {
            let first = kept.columns_of(run.keys.start);
            for (i, row) in columns[self.of_run(run)].iter_mut().enumerate() {
                multiply(simd, row, &kept.factors(&first, i));
            }
        }
    }
}

/// The sum of some lanes.
#[inline(always)]
pub(crate) fn sum_of<T: Real>(lanes: &[T]) -> T {
    lanes.iter().fold(T::ZERO, |sum, x| sum + *x)
}

#[inline(always)]
fn multiply<S: Simd, T: Real>(simd: S, row: &mut TileRow<T>, factors: &TileRow<T>) {
    for v in 0..vectors::<S, T>() {
        let at = v * Lanes::<S, T>::LEN;
        let product = load::<S, T>(simd, &row[at..]) * load::<S, T>(simd, &factors[at..]);
        store::<S, T>(product, &mut row[at..]);
    }
}

/// Products of the tile's first `queries` rows with other rows, a column each.
#[inline(always)]
pub(crate) fn row_dots<S: Simd, T: Real>(
    simd: S,
    tile: &[TileRow<T>],
    rows: Rows<'_, T>,
    queries: usize,
    to: &mut [TileRow<T>],
) {
    if to.is_empty() {
        return;
    }
    let lanes = Lanes::<S, T>::LEN;
    dots::<S, T, 1>(
        simd,
        [Factors { tile, rows }],
        0..queries.div_ceil(lanes),
        0..to.len(),
        #[inline(always)]
        |column, v, sum| {
            store::<S, T>(sum, &mut to[column][v * lanes..]);
        },
    );
}

/// Products of the tile's rows with landmark rows and with rows of the runs, a column each; `rows`
/// gives those that begin with a key of the document. Columns that are not
/// [`computed`](Columns::computed) for a vector are left as they are.
#[inline(always)]
pub(crate) fn tile_dots<'r, S: Simd, T: Real>(
    simd: S,
    tile: &[TileRow<T>],
    landmark_rows: Rows<'_, T>,
    rows: impl Fn(usize) -> Rows<'r, T>,
    columns: &Columns<'_, T>,
    to: &mut [TileRow<T>],
) {
    let lanes = Lanes::<S, T>::LEN;
    let queries = columns.queries;
    row_dots(
        simd,
        tile,
        landmark_rows,
        queries,
        &mut to[..columns.landmarks],
    );
    let group = group::<S, T>();
    for run in &columns.sight.runs {
        let factors = Factors {
            tile,
            rows: rows(run.keys.start),
        };
        let window = &mut to[columns.of_run(run)];
        for first in (0..queries).step_by(group) {
            let vectors = first / lanes..(first + group) / lanes;
            let keys = keys_of::<S, T>(run, vectors.start);
            dots::<S, T, 1>(
                simd,
                [factors],
                vectors,
                keys,
                #[inline(always)]
                |column, v, sum| {
                    store::<S, T>(sum, &mut window[column][v * lanes..]);
                },
            );
        }
    }
}

/// Turns scores into probabilities.
#[inline(always)]
pub(crate) fn probabilities<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    log_sums: &TileRow<T>,
    scores: &mut [TileRow<T>],
) {
    for v in 0..vectors::<S, T>() {
        let at = v * Lanes::<S, T>::LEN;
        let log_sum = load::<S, T>(simd, &log_sums[at..]);
        columns.for_computed::<S>(
            v,
            scores,
            #[inline(always)]
            |row| {
                let score = load::<S, T>(simd, &row[at..]);
                store::<S, T>(exp::<S, T>(simd, score - log_sum), &mut row[at..]);
            },
        );
    }
}

/// Turns gradients for probabilities into gradients for scores.
#[inline(always)]
pub(crate) fn score_gradients<S: Simd, T: Real>(
    simd: S,
    weights: &[TileRow<T>],
    d_weights: &mut [TileRow<T>],
) {
    for v in 0..vectors::<S, T>() {
        let at = v * Lanes::<S, T>::LEN;
        let mut delta = splat::<S, T>(simd, T::ZERO);
        for (weight, d_weight) in weights.iter().zip(&*d_weights) {
            let d_weight = load::<S, T>(simd, &d_weight[at..]);
            delta = load::<S, T>(simd, &weight[at..]).mul_add(d_weight, delta);
        }
        for (weight, d_weight) in weights.iter().zip(&mut *d_weights) {
            let difference = load::<S, T>(simd, &d_weight[at..]) - delta;
            let d_score = load::<S, T>(simd, &weight[at..]) * difference;
            store::<S, T>(d_score, &mut d_weight[at..]);
        }
    }
}

/// Multiplies all columns.
#[inline(always)]
pub(crate) fn scale_all<S: Simd, T: Real>(simd: S, scale: T, rows: &mut [TileRow<T>]) {
    for row in rows {
        for v in 0..vectors::<S, T>() {
            let at = v * Lanes::<S, T>::LEN;
            store::<S, T>(load::<S, T>(simd, &row[at..]) * scale, &mut row[at..]);
        }
    }
}
