//! Who sees whom: a window's pattern over sequences of their own lengths, and landmarks up to a
//! count.

use std::ops::Range;

use crate::Window;

/// Which landmarks and which keys a query sees.
///
/// # Lengths
///
/// A document has `queries` queries and `keys` keys, which need not be as many: the query `i`
/// stands at the position `memory + i` of the keys. Both are given to each function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Visibility {
    /// Which keys a query sees, by its position.
    pub window: Window,
    /// Keys in front of the first query's own.
    pub memory: usize,
    /// Which landmarks a query sees.
    pub landmarks: LandmarksSeen,
}

/// Which landmarks a query sees: always the first ones, up to a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LandmarksSeen {
    /// All of its document.
    #[default]
    All,
    /// Those of chunks that ended before the query's own began: query `i` sees the first
    /// `before + ⌊i/chunk⌋·rows`.
    Chunks {
        /// Landmarks that every query sees, in front of the chunks'.
        before: usize,
        /// Queries of a chunk, at least 1.
        chunk: usize,
        /// Landmarks of a chunk.
        rows: usize,
    },
}

impl From<Window> for Visibility {
    /// All landmarks, no memory.
    fn from(window: Window) -> Self {
        Self {
            window,
            memory: 0,
            landmarks: LandmarksSeen::All,
        }
    }
}

impl Visibility {
    /// How many of its document's `landmarks` a query sees.
    pub fn landmarks_of(&self, query: usize, landmarks: usize) -> usize {
        match self.landmarks {
            LandmarksSeen::All => landmarks,
            LandmarksSeen::Chunks {
                before,
                chunk,
                rows,
            } => (before + query / chunk * rows).min(landmarks),
        }
    }

    /// How many of its document's `landmarks` a query sees after this one, which it sees: 0 for the
    /// last, as the offset of a key is 0 for the query's own.
    pub fn landmark_offset(&self, query: usize, landmark: usize, landmarks: usize) -> usize {
        (self.landmarks_of(query, landmarks) - 1).wrapping_sub(landmark)
    }

    /// Runs of keys, half-open intervals in order, that together hold every key which one of these
    /// queries sees: one run for windows in one dimension, one a row for grids. All queries see a
    /// part of a run without gaps: [`keys_of`](Self::keys_of).
    pub fn runs(
        &self,
        queries: Range<usize>,
        keys: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let positions = queries.start + self.memory..queries.end + self.memory;
        self.window.runs(positions, keys)
    }

    /// The keys of a run that a query sees; an empty range for none.
    pub fn keys_of(&self, query: usize, run: &Range<usize>, keys: usize) -> Range<usize> {
        self.window.within(query + self.memory, run, keys)
    }

    /// Up to which query those from this one on see the same keys.
    pub fn alike_until(&self, query: usize) -> usize {
        self.window
            .alike_until(query + self.memory)
            .saturating_sub(self.memory)
    }

    /// Runs of queries, in order, that together hold every query which sees one of these keys.
    pub fn queries_of(
        &self,
        keys: Range<usize>,
        queries: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let memory = self.memory;
        self.window
            .positions_of(keys, memory + queries)
            .map(move |run| run.start.saturating_sub(memory)..run.end.saturating_sub(memory))
            .filter(|run| !run.is_empty())
    }

    /// One past the last key that one of these queries sees; 0 if they see none.
    pub fn end_of(&self, queries: Range<usize>, keys: usize) -> usize {
        self.runs(queries, keys).last().map_or(0, |run| run.end)
    }

    /// [`Window::column`] of a query.
    pub fn column(&self, query: usize, key: usize) -> u32 {
        self.window.column(query + self.memory, key)
    }

    /// [`Window::offset`] of a query.
    #[inline]
    pub fn offset(&self, query: usize, key: usize) -> usize {
        self.window.offset(query + self.memory, key)
    }

    /// # Panics
    ///
    /// Panics if a size of the pattern is 0 that must not be.
    pub fn assert_valid(&self) {
        let sizes_are_positive = match self.window {
            Window::Off | Window::All => true,
            Window::Segments { width } | Window::Causal { width } => width > 0,
            Window::Grid(grid) => grid.columns > 0 && grid.tile > 0,
        };
        assert!(
            sizes_are_positive,
            "a window's sizes are at least 1: {self:?}"
        );
        if let LandmarksSeen::Chunks { chunk, .. } = self.landmarks {
            assert!(chunk > 0, "a chunk has at least one query: {self:?}");
        }
    }
}
