//! The relative position bias of one head, so laid out that a tile reads it in whole vectors.

use crate::real::Real;
use crate::tile::{Scratch, TILE};
use crate::window::Window;

/// A head's row of the bias table with room for a tile on either side, for lanes that do not see
/// the key in question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaddedBias<'a, T> {
    /// Empty if there is no bias.
    table: &'a [T],
    reach: usize,
}

impl<'a, T: Real> PaddedBias<'a, T> {
    pub fn new(
        bias: Option<&[T]>,
        head: usize,
        window: Window,
        scratch: &'a mut Scratch<T>,
    ) -> Self {
        let reach = window.reach();
        let table: &[T] = match bias {
            None => &[],
            Some(bias) => {
                let offsets = 2 * reach + 1;
                let table = scratch.take(Self::padded_len(window));
                table.fill(T::ZERO);
                table[TILE..][..offsets].copy_from_slice(&bias[head * offsets..][..offsets]);
                table
            }
        };
        Self { table, reach }
    }

    /// Length of a padded row.
    pub fn padded_len(window: Window) -> usize {
        2 * window.reach() + 1 + 2 * TILE
    }

    /// Where the column of this query and key lies in a padded row. Columns of the queries after
    /// it follow.
    #[inline(always)]
    pub fn column(&self, query: usize, key: usize) -> usize {
        query + self.reach + TILE - key
    }

    /// The biases of this key for this query and those after it, or nothing.
    #[inline(always)]
    pub fn at(&self, query: usize, key: usize) -> Option<&'a [T]> {
        (!self.table.is_empty()).then(|| &self.table[self.column(query, key)..])
    }
}
