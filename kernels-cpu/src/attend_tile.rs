//! The columns of a tile of queries: landmarks first, then the keys of the tile's windows.

use std::ops::Range;

use fearless_simd::prelude::*;

use crate::documents::Document;
use crate::exp::exp;
use crate::padded_bias::PaddedBias;
use crate::products::{Factors, all_vectors, dots};
use crate::real::{Lanes, Real, load, splat, store};
use crate::tile::{TILE, TileRow, vectors};
use crate::tile_dropout::Kept;
use crate::view::Rows;
use crate::window::Sight;

/// Queries whose output is summed up together, see [`sums`](crate::products::sums). They read one
/// range of window keys.
const BLOCK: usize = 8;

/// Lanes for which one range of window keys is computed: a vector, or a block if that is longer.
#[inline(always)]
const fn group<S: Simd, T: Real>() -> usize {
    if Lanes::<S, T>::LEN > BLOCK {
        Lanes::<S, T>::LEN
    } else {
        BLOCK
    }
}

/// What a tile of queries sees: `landmarks` columns, then one for each key of its sight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a, T> {
    pub landmarks: usize,
    pub sight: &'a Sight<T>,
}

impl<T: Real> Columns<'_, T> {
    /// Window keys that are computed for a vector.
    #[inline(always)]
    pub fn keys_of<S: Simd>(&self, vector: usize) -> Range<usize> {
        let group = group::<S, T>();
        let first = vector * Lanes::<S, T>::LEN / group * group;
        self.sight.of_queries(first..first + group)
    }

    /// The columns that are computed for a vector: landmarks, and keys of the window.
    #[inline(always)]
    pub fn split_mut<'c, S: Simd>(
        &self,
        columns: &'c mut [TileRow<T>],
        vector: usize,
    ) -> (&'c mut [TileRow<T>], &'c mut [TileRow<T>]) {
        let (landmarks, window) = columns.split_at_mut(self.landmarks);
        (landmarks, &mut window[self.keys_of::<S>(vector)])
    }

    /// Calls with each block of the first `count` queries and the keys that they see.
    #[inline(always)]
    pub fn for_blocks(&self, count: usize, mut call: impl FnMut(Range<usize>, Range<usize>)) {
        for first in (0..count).step_by(BLOCK) {
            let keys = self.sight.of_queries(first..first + BLOCK);
            call(first..(first + BLOCK).min(count), keys);
        }
    }

    /// Adds the bias to window scores and makes −∞ of those that a query does not see.
    #[inline(always)]
    pub fn hide<S: Simd>(
        &self,
        simd: S,
        document: &Document<'_>,
        first_query: usize,
        bias: &PaddedBias<'_, T>,
        scores: &mut [TileRow<T>],
    ) {
        let lanes = Lanes::<S, T>::LEN;
        let hidden = splat::<S, T>(simd, T::NEG_INFINITY);
        for v in 0..vectors::<S, T>() {
            let at = v * lanes;
            let first = load::<S, T>(simd, &self.sight.first_lanes[at..]);
            let end = load::<S, T>(simd, &self.sight.end_lanes[at..]);
            let keys = self.keys_of::<S>(v);
            let mut key = splat::<S, T>(simd, T::from_index(keys.start as isize));
            for (i, row) in keys.clone().zip(&mut scores[self.landmarks..][keys]) {
                let token = self.sight.keys.start + i;
                let mut score = load::<S, T>(simd, &row[at..]);
                if let Some(bias) = bias.at(first_query + at, token) {
                    score += load::<S, T>(simd, bias);
                }
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

    /// Sets the window's columns to 0 for vectors that do not compute them.
    #[inline(always)]
    pub fn clear<S: Simd>(&self, simd: S, columns: &mut [TileRow<T>]) {
        let lanes = Lanes::<S, T>::LEN;
        let zero = splat::<S, T>(simd, T::ZERO);
        let window = &mut columns[self.landmarks..];
        for v in 0..vectors::<S, T>() {
            let keys = self.keys_of::<S>(v);
            let (before, rest) = window.split_at_mut(keys.start);
            let after = &mut rest[keys.len()..];
            for row in before.iter_mut().chain(after) {
                store::<S, T>(zero, &mut row[v * lanes..]);
            }
        }
    }

    /// Multiplies probabilities, or gradients for them, by their dropout factors.
    #[inline(always)]
    pub fn drop<S: Simd>(&self, simd: S, kept: &Kept<T>, columns: &mut [TileRow<T>]) {
        let (landmarks, window) = columns.split_at_mut(self.landmarks);
        for (i, row) in landmarks.iter_mut().enumerate() {
            multiply(simd, row, &kept.landmark(i));
        }
        for (i, row) in window.iter_mut().enumerate() {
            multiply(simd, row, &kept.window_key(i));
        }
    }
}

#[inline(always)]
fn multiply<S: Simd, T: Real>(simd: S, row: &mut TileRow<T>, factors: &TileRow<T>) {
    for v in 0..vectors::<S, T>() {
        let at = v * Lanes::<S, T>::LEN;
        let product = load::<S, T>(simd, &row[at..]) * load::<S, T>(simd, &factors[at..]);
        store::<S, T>(product, &mut row[at..]);
    }
}

/// Products of the tile's rows with landmark rows and with rows of the window, a column each. The
/// window's `rows` begin with the first key of the tile's sight. Columns outside a vector's
/// [`keys_of`](Columns::keys_of) are left as they are.
#[inline(always)]
pub(crate) fn tile_dots<S: Simd, T: Real>(
    simd: S,
    tile: &[TileRow<T>],
    landmark_rows: Rows<'_, T>,
    rows: Rows<'_, T>,
    columns: &Columns<'_, T>,
    to: &mut [TileRow<T>],
) {
    let lanes = Lanes::<S, T>::LEN;
    let (landmarks, window) = to.split_at_mut(columns.landmarks);
    let factors = Factors {
        tile,
        rows: landmark_rows,
    };
    let all = all_vectors::<S, T>();
    dots::<S, T, 1>(
        simd,
        [factors],
        all,
        0..columns.landmarks,
        #[inline(always)]
        |column, v, sum| {
            store::<S, T>(sum, &mut landmarks[column][v * lanes..]);
        },
    );
    let factors = Factors { tile, rows };
    let group = group::<S, T>();
    for first in (0..TILE).step_by(group) {
        let vectors = first / lanes..(first + group) / lanes;
        let keys = columns.keys_of::<S>(vectors.start);
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
        let (landmarks, window) = columns.split_mut::<S>(scores, v);
        for row in landmarks.iter_mut().chain(window) {
            let score = load::<S, T>(simd, &row[at..]);
            store::<S, T>(exp::<S, T>(simd, score - log_sum), &mut row[at..]);
        }
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
