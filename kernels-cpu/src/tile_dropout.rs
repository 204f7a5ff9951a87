//! Dropout factors of a tile's probabilities, a column at a time.

use transformer_ls_kernels::{Dropout, Visibility, dropout};

use crate::real::Real;
use crate::tile::{TILE, TileRow};

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
    first: usize,
    visibility: Visibility,
    landmarks: usize,
    /// Hashes as far as the query.
    of_query: [u32; TILE],
}

impl<T: Real> TileDropout<T> {
    pub fn new(dropout: Dropout, document: usize, head: usize) -> Self {
        Self {
            of_head: dropout::of_head(dropout.seed, document as u32, head as u32),
            threshold: dropout::threshold(dropout.probability),
            scale: T::from_f64(dropout.scale()),
        }
    }

    /// Of a tile of queries that starts with `first`.
    #[inline(always)]
    pub fn of_queries(self, first: usize, landmarks: usize, visibility: Visibility) -> Kept<T> {
        Kept {
            dropout: self,
            first,
            visibility,
            landmarks,
            of_query: std::array::from_fn(|lane| {
                dropout::step(self.of_head, (first + lane) as u32)
            }),
        }
    }
}

impl<T: Real> Kept<T> {
    /// The columns of a key, for each query; those of the keys after it in its run follow.
    #[inline(always)]
    pub fn columns_of(&self, key: usize) -> [u32; TILE] {
        let mut columns = [0; TILE];
        let mut lane = 0;
        while lane < TILE {
            let query = self.first + lane;
            let column = self.visibility.column(query, key);
            // Queries that see the same keys count them alike.
            let alike = self.visibility.alike_until(query) - self.first;
            columns[lane..alike.min(TILE)].fill(column.wrapping_add(self.landmarks as u32));
            lane = alike;
        }
        columns
    }

    /// Factors of the entries `after` columns later than these, one a query: 0, or what keeps the
    /// expectation.
    #[inline(always)]
    pub fn factors(&self, columns: &[u32; TILE], after: usize) -> TileRow<T> {
        let mut factors = [T::ZERO; TILE];
        for (lane, factor) in factors.iter_mut().enumerate() {
            let column = columns[lane].wrapping_add(after as u32);
            let kept = dropout::step(self.of_query[lane], column) >= self.dropout.threshold;
            *factor = if kept { self.dropout.scale } else { T::ZERO };
        }
        factors
    }
}
