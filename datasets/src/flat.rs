//! Documents of a byte a token in memory, end to end.

use std::fmt;

/// Documents and their classes.
#[derive(Clone, Default)]
pub(crate) struct Flat {
    pub tokens: Vec<u8>,
    pub ends: Vec<usize>,
    pub labels: Vec<u8>,
}

impl Flat {
    pub fn document(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start..self.ends[index]]
    }

    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.labels.len()).map(|index| self.document(index).len())
    }

    pub fn append(&mut self, other: &Flat) {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(&other.tokens);
        self.labels.extend_from_slice(&other.labels);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }
}

impl fmt::Debug for Flat {
    /// Their number: there may be a hundred megabytes of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels.len().fmt(f)
    }
}
