//! Where documents begin and end when they are packed end to end without padding.

use std::ops::Range;
use std::sync::Arc;

/// Boundaries of documents that lie end to end in one row `[1, Σn, …]`, with nothing between them.
///
/// Positions, segments and landmarks count from each document's own start, so that a packed batch
/// gives the same numbers as the same documents one a row. A document may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundaries {
    /// `offsets[i]..offsets[i + 1]` are the rows of document `i`.
    offsets: Arc<[usize]>,
}

impl Boundaries {
    /// Boundaries of documents of these lengths, in tokens.
    ///
    /// # Panics
    ///
    /// Panics if there is no document.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        assert!(!lengths.is_empty(), "a batch needs at least one document");
        let offsets = std::iter::once(0)
            .chain(lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            }))
            .collect();
        Self { offsets }
    }

    /// Checks that a batch of `rows` rows of `tokens` tokens is packed like this.
    ///
    /// # Panics
    ///
    /// Panics if it has more than one row, or another number of tokens than the boundaries end at.
    pub fn check(&self, rows: usize, tokens: usize) {
        assert_eq!(
            (rows, tokens),
            (1, self.total()),
            "a packed batch is one row of as many tokens as its boundaries end at"
        );
    }

    /// How many documents there are.
    pub fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many tokens all documents have together.
    pub fn total(&self) -> usize {
        self.offsets[self.count()]
    }

    /// `count + 1` offsets, the first 0, the last [`total`](Self::total).
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Rows of one document.
    ///
    /// # Panics
    ///
    /// Panics if `document` is not below [`count`](Self::count).
    pub fn range(&self, document: usize) -> Range<usize> {
        self.offsets[document]..self.offsets[document + 1]
    }

    /// Rows of every document, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// The number of its document for each token, `[Σn]`.
    pub fn document_of_each_token(&self) -> Vec<i32> {
        self.ranges()
            .enumerate()
            .flat_map(|(document, range)| range.map(move |_| document as i32))
            .collect()
    }

    /// Each token's position in its document, `[Σn]`.
    pub fn positions(&self) -> Vec<usize> {
        self.ranges().flat_map(|range| 0..range.len()).collect()
    }

    /// An arrangement with `gap` extra rows after every document: for each of its rows the token
    /// that lies there, or Σn for a gap; and for each token its row.
    pub fn spread(&self, gap: usize) -> (Vec<i32>, Vec<i32>) {
        let mut rows = Vec::with_capacity(self.total() + self.count() * gap);
        let mut places = Vec::with_capacity(self.total());
        for range in self.ranges() {
            for token in range {
                places.push(rows.len() as i32);
                rows.push(token as i32);
            }
            rows.extend(std::iter::repeat_n(self.total() as i32, gap));
        }
        (rows, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_running_sums() {
        let boundaries = Boundaries::from_lengths(&[3, 0, 5]);
        assert_eq!(boundaries.offsets(), [0, 3, 3, 8]);
        assert_eq!((boundaries.count(), boundaries.total()), (3, 8));
        assert_eq!(boundaries.range(1), 3..3);
        assert_eq!(boundaries.ranges().collect::<Vec<_>>(), [0..3, 3..3, 3..8]);
    }

    #[test]
    fn tokens_know_their_place() {
        let boundaries = Boundaries::from_lengths(&[2, 0, 1]);
        assert_eq!(boundaries.document_of_each_token(), [0, 0, 2]);
        assert_eq!(boundaries.positions(), [0, 1, 0]);
        let (rows, places) = boundaries.spread(1);
        assert_eq!(rows, [0, 1, 3, 3, 2, 3]);
        assert_eq!(places, [0, 1, 4]);
    }

    #[test]
    #[should_panic(expected = "at least one document")]
    fn no_document_is_refused() {
        Boundaries::from_lengths(&[]);
    }
}
