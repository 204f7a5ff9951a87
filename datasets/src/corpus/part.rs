//! A split as ids.

use std::ops::Range;
use std::path::Path;

use super::{Corpus, Vocabulary};
use crate::{DatasetError, Split};

/// A split of a text as ids of a vocabulary. Clones share the text.
#[derive(Clone, Debug)]
pub struct Part {
    corpus: Corpus,
    split: Split,
    vocabulary: Vocabulary,
}

impl Part {
    /// All bytes of the split have to be in the vocabulary.
    pub(super) fn new(corpus: Corpus, split: Split, vocabulary: Vocabulary) -> Self {
        Self {
            corpus,
            split,
            vocabulary,
        }
    }

    /// The text's file.
    pub fn path(&self) -> &Path {
        self.corpus.path()
    }

    /// Which split it is.
    pub fn split(&self) -> Split {
        self.split
    }

    /// The number of bytes, and of ids.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.corpus.split(self.split)
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The ids of some of the bytes, counted from the split's start.
    ///
    /// # Panics
    /// If the split has not so many bytes.
    pub fn ids(&self, range: Range<usize>) -> impl Iterator<Item = u16> {
        self.vocabulary.known(&self.bytes()[range])
    }

    /// Says that there is too little text.
    pub(super) fn too_short(&self, needed: usize, of_what: String) -> DatasetError {
        DatasetError::ShortText {
            path: self.path().to_owned(),
            split: self.split,
            found: self.len(),
            whole: self.corpus.bytes().len(),
            shares: self.corpus.shares(),
            needed,
            of_what,
        }
    }
}
