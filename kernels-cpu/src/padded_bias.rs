//! The relative position bias of one head, so laid out that a tile reads it in whole vectors.

use std::ops::Range;

use fearless_simd::prelude::*;
use transformer_ls_kernels::Visibility;

use crate::real::{Lanes, Real, load};
use crate::tile::{Scratch, TILE, TileRow};

/// A head's row of the bias table with room for a tile on either side, for lanes that do not see
/// the key in question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaddedBias<'a, T> {
    /// Empty if there is no bias.
    table: &'a [T],
    /// The entries of landmarks, if there are any.
    pub landmarks: &'a [T],
    pub places: Places,
}

/// Where pairs of queries and keys lie in a padded row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    visibility: Visibility,
    /// Whether neighbouring queries have neighbouring offsets to a key: in one dimension.
    side_by_side: bool,
}

impl Places {
    pub fn new(visibility: Visibility) -> Self {
        Self {
            visibility,
            side_by_side: visibility.window.is_line(),
        }
    }

    /// Entries of the window.
    pub fn offsets(&self) -> usize {
        self.visibility.window.offsets()
    }

    /// Length of a padded row.
    pub fn padded_len(&self) -> usize {
        self.visibility.window.offsets() + 2 * TILE
    }

    /// Where this query and key lie; in no row, if the key is far out of sight.
    #[inline(always)]
    fn place(&self, query: usize, key: usize) -> usize {
        self.visibility.offset(query, key).wrapping_add(TILE)
    }

    /// Of a key's offset to each of the tile's queries, whose first is `query`, what `by_offset` has
    /// for it, in a vector's lanes from `at` on; 0 if it has none.
    #[inline(always)]
    pub fn gather<S: Simd, T: Real>(
        &self,
        by_offset: &[TileRow<T>],
        query: usize,
        at: usize,
        key: usize,
    ) -> TileRow<T> {
        let mut row = [T::ZERO; TILE];
        let lanes = at..at + Lanes::<S, T>::LEN;
        if self.side_by_side {
            let (seeing, first) = self.diagonal(query, key, lanes, by_offset.len());
            let values = by_offset.as_flattened();
            for (i, lane) in seeing.enumerate() {
                row[lane - at] = values[(first + i) * TILE + lane];
            }
            return row;
        }
        for lane in lanes {
            let offset = self.visibility.offset(query + lane, key);
            row[lane - at] = by_offset.get(offset).map_or(T::ZERO, |row| row[lane]);
        }
        row
    }

    /// Undoes [`gather`](Self::gather): adds a key's row to those by offset.
    #[inline(always)]
    pub fn scatter<T: Real>(
        &self,
        row: &TileRow<T>,
        query: usize,
        key: usize,
        by_offset: &mut [TileRow<T>],
    ) {
        // Where the key is out of sight this is some other entry, and the gradient 0.
        if self.side_by_side {
            let (seeing, first) = self.diagonal(query, key, 0..TILE, by_offset.len());
            let values = by_offset.as_flattened_mut();
            for (i, lane) in seeing.enumerate() {
                values[(first + i) * TILE + lane] += row[lane];
            }
            return;
        }
        for (lane, d_score) in row.iter().enumerate() {
            let offset = self.visibility.offset(query + lane, key);
            if let Some(row) = by_offset.get_mut(offset) {
                row[lane] += *d_score;
            }
        }
    }

    /// In one dimension a key's offset rises by one from lane to lane. Gives those of the lanes whose
    /// offset is one of so many, and the offset of the first of them, which means nothing where there are
    /// none.
    #[inline(always)]
    fn diagonal(
        &self,
        query: usize,
        key: usize,
        lanes: Range<usize>,
        offsets: usize,
    ) -> (Range<usize>, usize) {
        // Below 0 where the key lies beyond what the tile's first query sees.
        let of_first_query = self.visibility.offset(query, key) as isize;
        let lane_of = |offset: usize| {
            let lane = offset as isize - of_first_query;
            lane.clamp(lanes.start as isize, lanes.end as isize) as usize
        };
        let seeing = lane_of(0)..lane_of(offsets);
        let first = of_first_query.wrapping_add_unsigned(seeing.start);
        (seeing, first as usize)
    }

    /// Adds what a key's scores of the tile's queries, from `query` on, had for gradients.
    #[inline(always)]
    pub fn add<T: Real>(&self, totals: &mut [T], query: usize, key: usize, row: &TileRow<T>) {
        if self.side_by_side {
            let totals = &mut totals[self.place(query, key)..];
            for (total, d_score) in totals.iter_mut().zip(row) {
                *total += *d_score;
            }
            return;
        }
        for (lane, d_score) in row.iter().enumerate() {
            // Where the key is out of sight this is some other entry, and the gradient 0.
            if let Some(total) = totals.get_mut(self.place(query + lane, key)) {
                *total += *d_score;
            }
        }
    }
}

impl<'a, T: Real> PaddedBias<'a, T> {
    pub fn new(
        bias: Option<&'a [T]>,
        head: usize,
        heads: usize,
        visibility: Visibility,
        scratch: &'a mut Scratch<T>,
    ) -> Self {
        let places = Places::new(visibility);
        let (table, landmarks): (&[T], &[T]) = match bias {
            None => (&[], &[]),
            Some(bias) => {
                let entries = bias.len() / heads;
                let own = &bias[head * entries..][..entries];
                let (own, landmarks) = own.split_at(places.offsets());
                if own.is_empty() {
                    return Self {
                        table: &[],
                        landmarks,
                        places,
                    };
                }
                let table = scratch.take(places.padded_len());
                table.fill(T::ZERO);
                table[TILE..][..own.len()].copy_from_slice(own);
                (table, landmarks)
            }
        };
        Self {
            table,
            landmarks,
            places,
        }
    }

    /// Adds the biases of this key for this query and those after it, if there are any, to their
    /// scores.
    #[inline(always)]
    pub fn add<S: Simd>(
        &self,
        simd: S,
        query: usize,
        key: usize,
        scores: Lanes<S, T>,
    ) -> Lanes<S, T> {
        if self.table.is_empty() {
            return scores;
        }
        if self.places.side_by_side {
            return scores + load::<S, T>(simd, &self.table[self.places.place(query, key)..]);
        }
        let mut row = [T::ZERO; TILE];
        for (lane, bias) in row[..Lanes::<S, T>::LEN].iter_mut().enumerate() {
            let place = self.places.place(query + lane, key);
            *bias = self.table.get(place).copied().unwrap_or(T::ZERO);
        }
        scores + load::<S, T>(simd, &row)
    }
}
