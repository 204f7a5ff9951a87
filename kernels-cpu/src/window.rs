//! Segments and what their queries see (paper section 3.1).

use std::ops::Range;

use crate::real::Real;
use crate::tile::{TILE, TileRow};

/// The window of a query: its own segment of `width` tokens and `halo` tokens on either side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// `w`; 0 = no window.
    width: usize,
    /// `e = max(⌊w/2⌋, 1)`
    halo: usize,
}

impl Window {
    pub fn new(width: usize) -> Self {
        Self {
            width,
            halo: (width / 2).max(1),
        }
    }

    /// How far a key that a query sees can lie from it at most: `w − 1 + e`.
    pub fn reach(&self) -> usize {
        match self.width {
            0 => 0,
            width => width - 1 + self.halo,
        }
    }

    /// Keys that at least one of these queries sees, in a document of `len` tokens.
    pub fn keys(&self, queries: Range<usize>, len: usize) -> Range<usize> {
        if self.width == 0 || queries.is_empty() {
            return 0..0;
        }
        let first = queries.start / self.width * self.width;
        let end = ((queries.end - 1) / self.width + 1) * self.width;
        first.saturating_sub(self.halo)..(end + self.halo).min(len)
    }

    /// What the queries of a tile see.
    pub fn sight<T: Real>(&self, queries: Range<usize>, len: usize) -> Sight<T> {
        let keys = self.keys(queries.clone(), len);
        let mut sight = Sight {
            keys: keys.clone(),
            segments: [0; TILE],
            first: [0; TILE],
            end: [0; TILE],
            first_lanes: [T::ZERO; TILE],
            end_lanes: [T::ZERO; TILE],
        };
        if self.width == 0 {
            return sight;
        }
        let mut segment = queries.start / self.width * self.width;
        for lane in 0..TILE {
            // Lanes beyond the last query see what it sees: they are computed and not used.
            let query = (queries.start + lane).min(queries.end - 1);
            if query == segment + self.width {
                segment = query;
            }
            let first = segment.saturating_sub(self.halo) - keys.start;
            let end = (segment + self.width + self.halo).min(len) - keys.start;
            sight.segments[lane] = segment;
            sight.first[lane] = first;
            sight.end[lane] = end;
            sight.first_lanes[lane] = T::from_index(first as isize);
            sight.end_lanes[lane] = T::from_index(end as isize);
        }
        sight
    }

    /// The column, without landmarks, of key 0 of the document for a query of this segment; wraps.
    pub fn first_column(&self, segment: usize) -> u32 {
        (self.halo as u32).wrapping_sub(segment as u32)
    }
}

/// What the queries of a tile see of their document. Keys count from `keys.start`, except in
/// `keys`.
#[derive(Clone, Debug)]
pub(crate) struct Sight<T> {
    /// Keys that any query of the tile sees, counted from the document's start.
    pub keys: Range<usize>,
    /// Where each query's segment starts in the document.
    pub segments: [usize; TILE],
    first: [usize; TILE],
    end: [usize; TILE],
    /// The first key that each query sees.
    pub first_lanes: TileRow<T>,
    /// One past the last.
    pub end_lanes: TileRow<T>,
}

impl<T> Sight<T> {
    /// Keys that any of these queries sees.
    #[inline(always)]
    pub fn of_queries(&self, queries: Range<usize>) -> Range<usize> {
        self.first[queries.start]..self.end[queries.end - 1]
    }

    /// Queries that see any of these keys. As keys rise from call to call, `from` can be the
    /// start of the last answer.
    #[inline(always)]
    pub fn of_keys(&self, keys: Range<usize>, from: usize) -> Range<usize> {
        let mut start = from;
        while start < TILE && self.end[start] <= keys.start {
            start += 1;
        }
        let mut end = start;
        while end < TILE && self.first[end] < keys.end {
            end += 1;
        }
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sight_is_the_definition() {
        for width in [1, 2, 3, 8, 16, 50] {
            let window = Window::new(width);
            let halo = (width / 2).max(1);
            for len in [1, 7, 63, 129] {
                let sees = |query: usize, key: usize| {
                    let segment = query / width;
                    key + halo >= segment * width && key < (segment + 1) * width + halo
                };
                for start in (0..len).step_by(TILE) {
                    let queries = start..(start + TILE).min(len);
                    let sight = window.sight::<f32>(queries.clone(), len);
                    for (lane, query) in queries.clone().enumerate() {
                        assert_eq!(sight.segments[lane], query / width * width);
                        for key in 0..len {
                            let seen = sees(query, key);
                            let range = sight.of_queries(lane..lane + 1);
                            let range =
                                range.start + sight.keys.start..range.end + sight.keys.start;
                            assert_eq!(range.contains(&key), seen, "w {width}: {query} {key}");
                            if seen {
                                let key = key - sight.keys.start;
                                assert!(sight.of_keys(key..key + 1, 0).contains(&lane));
                            }
                        }
                    }
                }
            }
        }
    }
}
