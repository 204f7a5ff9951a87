//! Where a tile's score gradients and probabilities go in the windowed path's backward pass: sums of
//! rows, weighted by them, for queries, landmarks and keys.

use std::ops::Range;

use fearless_simd::prelude::*;

use crate::attend_merge::Partial;
use crate::attend_tile::Columns;
use crate::products::{Terms, sums};
use crate::real::Real;
use crate::tile::{TileRow, add, put};
use crate::view::{Rows, RowsMut};
use crate::window::{Sight, Window};

/// Keys of a part that no tile before this one has seen, up to the last that this one sees: their
/// gradients begin here. The last tile takes all that are left.
pub(crate) fn first_seen(
    window: Window,
    part: &Range<usize>,
    queries: Range<usize>,
    len: usize,
) -> Range<usize> {
    let seen = |end: usize| match end {
        end if end == part.start || end == part.end => end,
        end => window.keys(part.start..end, len).end.clamp(end, part.end),
    };
    seen(queries.start)..seen(queries.end)
}

/// Where gradients of landmarks and keys go, or those of their values.
pub(crate) struct Target<'a, T> {
    pub layout: Partial,
    /// 0: keys, 1: values.
    pub side: usize,
    /// The part of the document whose keys are the task's own, and the rows of these keys. All
    /// others, and landmarks, go to the part's own memory.
    pub part: &'a Range<usize>,
    pub own: RowsMut<'a, T>,
}

/// Writes `d_scores · [landmark keys | window keys]` for each query.
#[inline(always)]
pub(crate) fn query_gradients<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    d_scores: &[TileRow<T>],
    landmark_keys: Rows<'_, T>,
    keys: Rows<'_, T>,
    d_query: RowsMut<'_, T>,
) {
    let (of_landmarks, of_window) = d_scores.split_at(columns.landmarks);
    columns.for_blocks(
        d_query.len(),
        #[inline(always)]
        |queries, seen| {
            let terms = [
                Terms {
                    weights: of_landmarks,
                    rows: landmark_keys,
                    terms: 0..columns.landmarks,
                },
                Terms {
                    weights: of_window,
                    rows: keys,
                    terms: seen,
                },
            ];
            sums::<S, T, true, 2>(
                simd,
                terms,
                queries,
                #[inline(always)]
                |lane, offset, sum| {
                    // SAFETY: these queries under this head are this call's alone, and each row's
                    // last reference is gone.
                    put::<S, T>(sum, unsafe { d_query.row(lane) }, offset);
                },
            );
        },
    );
}

/// Adds `Σ_query weights[landmark][query] · rows[query]` for every landmark to the part's memory.
#[inline(always)]
pub(crate) fn landmark_gradients<S: Simd, T: Real>(
    simd: S,
    weights: &[TileRow<T>],
    rows: Rows<'_, T>,
    queries: usize,
    to: &Target<'_, T>,
    partial: &mut [T],
) {
    let terms = Terms {
        weights,
        rows,
        terms: 0..queries,
    };
    sums::<S, T, false, 1>(
        simd,
        [terms],
        0..weights.len(),
        #[inline(always)]
        |landmark, offset, sum| {
            let row = to.layout.landmark_mut(partial, to.side, landmark);
            add::<S, T>(simd, sum, row, offset);
        },
    );
}

/// Adds `Σ_query weights[key][query] · rows[query]` for every key of the tile's sight to the key's
/// row.
#[inline(always)]
pub(crate) fn key_gradients<S: Simd, T: Real>(
    simd: S,
    sight: &Sight<T>,
    weights: &[TileRow<T>],
    rows: Rows<'_, T>,
    queries: usize,
    to: &Target<'_, T>,
    partial: &mut [T],
) {
    const KEYS: usize = 8;
    let mut from = 0;
    for first in (0..weights.len()).step_by(KEYS) {
        let keys = first..(first + KEYS).min(weights.len());
        let seeing = sight.of_keys(keys.clone(), from);
        from = seeing.start;
        let terms = Terms {
            weights,
            rows,
            terms: seeing.start.min(queries)..seeing.end.min(queries),
        };
        sums::<S, T, false, 1>(
            simd,
            [terms],
            keys,
            #[inline(always)]
            |key, offset, sum| {
                let key = sight.keys.start + key;
                let row = if to.part.contains(&key) {
                    // SAFETY: the rows of the part under this head are this task's alone, and each
                    // row's last reference is gone.
                    unsafe { to.own.row(key - to.part.start) }
                } else {
                    to.layout.border_mut(partial, to.side, to.part, key)
                };
                add::<S, T>(simd, sum, row, offset);
            },
        );
    }
}
