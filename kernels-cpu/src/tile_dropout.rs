//! Dropout factors of a tile's probabilities, a column at a time.

use crate::dropout::{self, Dropout};
use crate::real::Real;
use crate::tile::{TILE, TileRow};
use crate::window::{Sight, Window};

/// Dropout as the tiles of one document and head need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileDropout<T> {
    of_head: u32,
    threshold: u32,
    scale: T,
}

/// The same for the queries of one tile.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    dropout: TileDropout<T>,
    /// Hashes as far as the query.
    of_query: [u32; TILE],
    /// The column of the first key of the tile's sight, which may lie before the query's window.
    first_column: [u32; TILE],
}

impl<T: Real> TileDropout<T> {
    pub fn new(dropout: Dropout, document: usize, head: usize) -> Self {
        Self {
            of_head: dropout::of_head(dropout.seed, document as u32, head as u32),
            threshold: dropout::threshold(dropout.probability),
            scale: T::from_f64(dropout.scale()),
        }
    }

    #[inline(always)]
    pub fn of_queries(
        self,
        first: usize,
        landmarks: usize,
        window: Window,
        sight: &Sight<T>,
    ) -> Kept<T> {
        let mut kept = Kept {
            dropout: self,
            of_query: [0; TILE],
            first_column: [0; TILE],
        };
        let before = (landmarks + sight.keys.start) as u32;
        for lane in 0..TILE {
            kept.of_query[lane] = dropout::step(self.of_head, (first + lane) as u32);
            kept.first_column[lane] =
                before.wrapping_add(window.first_column(sight.segments[lane]));
        }
        kept
    }
}

impl<T: Real> Kept<T> {
    /// Factors of landmark `landmark`: 0, or what keeps the expectation.
    #[inline(always)]
    pub fn landmark(&self, landmark: usize) -> TileRow<T> {
        self.factors(|_| landmark as u32)
    }

    /// Factors of a window key, counted from the first of the tile's sight.
    #[inline(always)]
    pub fn window_key(&self, key: usize) -> TileRow<T> {
        self.factors(|lane| self.first_column[lane].wrapping_add(key as u32))
    }

    #[inline(always)]
    fn factors(&self, column: impl Fn(usize) -> u32) -> TileRow<T> {
        let mut factors = [T::ZERO; TILE];
        for (lane, factor) in factors.iter_mut().enumerate() {
            let kept = dropout::step(self.of_query[lane], column(lane)) >= self.dropout.threshold;
            *factor = if kept { self.dropout.scale } else { T::ZERO };
        }
        factors
    }
}
