//! Where a tile's score gradients and probabilities go in the windowed path's backward pass: sums of
//! rows, weighted by them, for queries, landmarks and keys.

use std::ops::Range;

use fearless_simd::prelude::*;
use transformer_ls_kernels::Visibility;

use crate::attend_merge::Partial;
use crate::attend_tile::Columns;
use crate::documents::Document;
use crate::products::{Terms, sums};
use crate::real::Real;
use crate::sight::{BLOCK, Sight};
use crate::tile::{TileRow, add, put};
use crate::view::{Rows, RowsMut};

/// A task's part of a document: its queries, and the keys whose gradients it writes itself.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

impl Part {
    /// Keys go with the query that stands at their position; those before the first and after the
    /// last with the document's first and last part.
    pub fn new(queries: Range<usize>, document: &Document<'_>, visibility: &Visibility) -> Self {
        let at = |query: usize| match query {
            0 => 0,
            query if query == document.len => document.keys,
            query => (query + visibility.memory).min(document.keys),
        };
        Self {
            keys: at(queries.start)..at(queries.end),
            queries,
        }
    }

    /// Own keys that no tile before this one has seen, up to the last that this one sees: their
    /// gradients begin here. The last tile takes all that are left.
    pub fn first_seen(
        &self,
        visibility: &Visibility,
        queries: Range<usize>,
        document: &Document<'_>,
    ) -> Range<usize> {
        let seen = |end: usize| match end {
            end if end == self.queries.start => self.keys.start,
            end if end == self.queries.end => self.keys.end,
            end => visibility
                .end_of(self.queries.start..end, document.keys)
                .clamp(self.keys.start, self.keys.end),
        };
        seen(queries.start)..seen(queries.end)
    }
}

/// Where gradients of keys go, or those of their values.
pub(crate) struct Target<'a, T> {
    pub layout: Partial,
    /// 0: keys, 1: values.
    pub side: usize,
    /// The task's part of the document, and the rows of its own keys. All others go to the part's
    /// own memory.
    pub part: &'a Part,
    pub own: RowsMut<'a, T>,
}

/// Writes `d_scores · [landmark keys | window keys]` for each query. `keys` begin with the first key
/// of the sight's hull.
#[inline(always)]
pub(crate) fn query_gradients<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    d_scores: &[TileRow<T>],
    landmark_keys: Rows<'_, T>,
    keys: Rows<'_, T>,
    d_query: RowsMut<'_, T>,
) {
    for first in (0..d_query.len()).step_by(BLOCK) {
        let queries = first..(first + BLOCK).min(d_query.len());
        sums::<S, T, true, 2>(
            simd,
            columns.terms(first, d_scores, landmark_keys, keys),
            queries.clone(),
            #[inline(always)]
            |lane, offset, sum| {
                // SAFETY: these queries under this head are this call's alone, and each row's last
                // reference is gone.
                put::<S, T>(sum, unsafe { d_query.row(lane) }, offset);
            },
        );
        for terms in columns.more_terms(first, d_scores, keys) {
            add_to_queries(simd, terms, queries.clone(), d_query);
        }
    }
}

/// Adds these terms to the gradients of some queries.
#[inline(always)]
pub(crate) fn add_to_queries<S: Simd, T: Real>(
    simd: S,
    terms: Terms<'_, T>,
    queries: Range<usize>,
    d_query: RowsMut<'_, T>,
) {
    sums::<S, T, true, 1>(
        simd,
        [terms],
        queries,
        #[inline(always)]
        |lane, offset, sum| {
            // SAFETY: these queries under this head are the caller's alone, and each row's last
            // reference is gone.
            add::<S, T>(simd, sum, unsafe { d_query.row(lane) }, offset);
        },
    );
}

/// Adds `Σ_query weights[i][query] · rows[query]` to row `i` of `to`, for every row of the weights.
#[inline(always)]
pub(crate) fn row_gradients<S: Simd, T: Real>(
    simd: S,
    weights: &[TileRow<T>],
    rows: Rows<'_, T>,
    queries: usize,
    to: &mut [T],
    width: usize,
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
        |i, offset, sum| add::<S, T>(simd, sum, &mut to[i * width..][..width], offset),
    );
}

/// Adds `Σ_query weights[key][query] · rows[query]` for every key of the tile's sight, whose columns
/// these weights are, to the key's row.
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
    for run in &sight.runs {
        let weights = &weights[run.column..][..run.keys.len()];
        let mut from = 0;
        for first in (0..weights.len()).step_by(KEYS) {
            let keys = first..(first + KEYS).min(weights.len());
            let seeing = run.of_keys(keys.clone(), from);
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
                    let key = run.keys.start + key;
                    let own = &to.part.keys;
                    let row = if own.contains(&key) {
                        // SAFETY: the rows of the part under this head are this task's alone, and
                        // each row's last reference is gone.
                        unsafe { to.own.row(key - own.start) }
                    } else {
                        to.layout.border_mut(partial, to.side, own, key)
                    };
                    add::<S, T>(simd, sum, row, offset);
                },
            );
        }
    }
}
