//! What every task's data set yields.

use burn_dataset::{Dataset, InMemDataset};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::UnknownName;

/// One sample of any task: the documents to classify, and their class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The token ids of the document, or of both documents where the task compares two.
    pub documents: TokenIds,
    /// The class, counted from 0.
    pub label: u8,
}

/// The samples of a split, of any task.
pub trait Samples: Dataset<Sample> {
    /// How many samples of the sources were left out: see [`Missing`]. Where several splits are cut
    /// from one set of files, those of all splits.
    fn left_out(&self) -> usize {
        0
    }

    /// How many samples have a document of more than so many tokens, which a model that takes no
    /// more would cut off.
    ///
    /// # Errors
    /// If a sample can't be read.
    fn longer_than(&self, tokens: usize) -> Result<usize, burn_dataset::DatasetError> {
        let mut longer = 0;
        for index in 0..self.len() {
            let documents = self.get(index)?.documents;
            longer += usize::from(documents.iter().any(|document| document.len() > tokens));
        }
        Ok(longer)
    }
}

/// Samples that are made up, for tests.
impl Samples for InMemDataset<Sample> {}

impl Dataset<Sample> for Box<dyn Samples> {
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        (**self).get(index)
    }

    fn len(&self) -> usize {
        (**self).len()
    }
}

impl Samples for Box<dyn Samples> {
    fn left_out(&self) -> usize {
        (**self).left_out()
    }

    fn longer_than(&self, tokens: usize) -> Result<usize, burn_dataset::DatasetError> {
        (**self).longer_than(tokens)
    }
}

/// What to do about samples whose files are empty or not there.
///
/// Retrieval's pairs with an empty document are no such samples: the published data has some, and
/// they are left out and counted in any case; and so is the one empty image of the published data,
/// `pathfinder32/curv_baseline/imgs/0/sample_172.png`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Missing {
    /// They are an error: the data was not unpacked completely, most likely.
    #[default]
    Refuse,
    /// They are left out and counted, see [`Samples::left_out`].
    LeaveOut,
}

/// The token ids of a sample, 16 bits each until they go to a device: readers and packed files store
/// a byte a token, and the largest vocabulary has 257 ids.
///
/// Ids of text start at 1, for 0 is the padding that a batch adds. Ids of pixels are their
/// brightness from 0 on: the published token protocol takes black for padding, and protocols that
/// take numbers do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenIds {
    /// One document.
    One(Vec<u16>),
    /// Two documents that are encoded apart and judged together (Retrieval).
    Two(Vec<u16>, Vec<u16>),
}

impl TokenIds {
    /// The documents in order, one or two.
    pub fn iter(&self) -> impl Iterator<Item = &[u16]> {
        let (first, second) = match self {
            TokenIds::One(tokens) => (tokens, None),
            TokenIds::Two(first, second) => (first, Some(second)),
        };
        std::iter::once(first)
            .chain(second)
            .map(|tokens| tokens.as_slice())
    }

    /// The number of documents: 1 or 2.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// The number of tokens in all documents together.
    pub fn token_count(&self) -> usize {
        self.iter().map(<[u16]>::len).sum()
    }
}

/// The ids of tokens that are stored as a byte each, counted from the first id of their vocabulary.
pub(crate) fn ids(bytes: &[u8], first: u16) -> Vec<u16> {
    bytes.iter().map(|&byte| u16::from(byte) + first).collect()
}

/// Which part of a data set: to learn from, to choose by, or to be judged on once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What the best checkpoint is chosen by (often called validation).
    Dev,
    /// What the chosen checkpoint is judged on, once.
    Test,
}

impl Split {
    /// All splits, in the order in which a generator fills them.
    pub const ALL: [Split; 3] = [Split::Train, Split::Dev, Split::Test];
}

/// The text names no [`Split`].
fn unknown(text: &str) -> UnknownName {
    UnknownName::new("split", text, "train, dev or test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_parse_as_they_print() {
        for (split, text) in Split::ALL.into_iter().zip(["train", "dev", "test"]) {
            assert_eq!(split.to_string(), text);
            assert_eq!(text.parse(), Ok(split));
        }
        let error = "val".parse::<Split>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no split \"val\": use train, dev or test"
        );
    }

    #[test]
    fn documents_are_counted() {
        let one = TokenIds::One(vec![1, 2, 3]);
        assert_eq!((one.count(), one.token_count()), (1, 3));
        let two = TokenIds::Two(vec![1, 2, 3], vec![4]);
        assert_eq!((two.count(), two.token_count()), (2, 4));
        assert_eq!(two.iter().collect::<Vec<_>>(), [&[1, 2, 3][..], &[4][..]]);
    }
}
