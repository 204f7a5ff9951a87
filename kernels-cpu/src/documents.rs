//! How documents lie in a batch.

use std::ops::Range;

/// How documents lie in a batch `[b, h, n, d]`.
#[derive(Clone, Copy, Debug)]
pub enum Documents<'a> {
    /// One document a row.
    Rows {
        /// `[b, n]`: not 0 = a real token; without a mask all are. Real tokens may lie anywhere.
        /// What padded rows hold has no influence, but must be finite.
        mask: Option<&'a [u8]>,
    },
    /// All documents end to end in the one row of the batch (`b = 1`).
    Packed {
        /// `documents + 1` offsets, the first 0, the last `n`: document `m` has the rows
        /// `offsets[m]..offsets[m + 1]`. It may be empty.
        offsets: &'a [usize],
    },
}

/// One document of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    /// Its number in the batch.
    pub number: usize,
    /// The row of the batch that it lies in.
    pub batch: usize,
    /// The place in that row of its first token.
    pub start: usize,
    /// Tokens, padded ones included.
    pub len: usize,
    mask: Option<&'a [u8]>,
}

impl<'a> Documents<'a> {
    /// How many documents a batch of `batch` rows has.
    pub fn count(&self, batch: usize) -> usize {
        match self {
            Self::Rows { .. } => batch,
            Self::Packed { offsets } => offsets.len().saturating_sub(1),
        }
    }

    /// # Panics
    ///
    /// Panics if the mask or the offsets do not fit a batch of this shape.
    pub(crate) fn assert_fit(&self, batch: usize, tokens: usize) {
        match self {
            Self::Rows { mask: None } => {}
            Self::Rows { mask: Some(mask) } => assert_eq!(
                mask.len(),
                batch * tokens,
                "the mask's length for {batch} rows of {tokens} tokens"
            ),
            Self::Packed { offsets } => {
                assert_eq!(batch, 1, "packed documents lie in one row");
                assert!(
                    offsets.first() == Some(&0)
                        && offsets.last() == Some(&tokens)
                        && offsets.is_sorted(),
                    "offsets of packed documents rise from 0 to the number of tokens, {tokens}"
                );
            }
        }
    }

    /// All documents of a batch whose rows have this many tokens.
    pub(crate) fn list(&self, batch: usize, tokens: usize) -> Vec<Document<'a>> {
        match *self {
            Self::Rows { mask } => (0..batch)
                .map(|row| Document {
                    number: row,
                    batch: row,
                    start: 0,
                    len: tokens,
                    mask: mask.map(|mask| &mask[row * tokens..][..tokens]),
                })
                .collect(),
            Self::Packed { offsets } => offsets
                .windows(2)
                .enumerate()
                .map(|(number, ends)| Document {
                    number,
                    batch: 0,
                    start: ends[0],
                    len: ends[1] - ends[0],
                    mask: None,
                })
                .collect(),
        }
    }
}

impl Document<'_> {
    /// Whether a token, counted from the document's start, is real.
    #[inline(always)]
    pub fn is_real(&self, token: usize) -> bool {
        self.mask.is_none_or(|mask| mask[token] != 0)
    }

    pub fn has_real(&self, mut tokens: Range<usize>) -> bool {
        tokens.any(|token| self.is_real(token))
    }
}

/// A part of one document under one head, as one thread's work.
#[derive(Clone, Debug)]
pub(crate) struct Task<'a> {
    pub document: Document<'a>,
    pub head: usize,
    /// Counted from the document's start.
    pub tokens: Range<usize>,
}

/// Every document under every head in parts of `part` tokens, the parts of one head in a row.
/// Parts depend on the batch alone, not on the number of threads, so that sums over them do not
/// either.
pub(crate) fn tasks<'a>(documents: &[Document<'a>], heads: usize, part: usize) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for &document in documents {
        for head in 0..heads {
            for start in (0..document.len).step_by(part) {
                tasks.push(Task {
                    document,
                    head,
                    tokens: start..(start + part).min(document.len),
                });
            }
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "rise from 0 to the number of tokens, 5")]
    fn offsets_that_end_elsewhere_are_refused() {
        Documents::Packed {
            offsets: &[0, 3, 4],
        }
        .assert_fit(1, 5);
    }
}
