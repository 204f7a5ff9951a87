//! How a text is cut in three.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Split, UnknownName};

/// How much of a text is train, dev and test, in this order, as numbers whose sum is the whole. Written
/// `90/5/5`, which is the default.
///
/// ```
/// use transformer_ls_datasets::Split;
/// use transformer_ls_datasets::corpus::Shares;
///
/// let shares: Shares = "8/1/1".parse().unwrap();
/// assert_eq!(shares.range(Split::Dev, 100), 80..90);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shares {
    parts: [u32; 3],
}

impl Shares {
    /// # Errors
    /// If all are 0.
    pub fn new(train: u32, dev: u32, test: u32) -> Result<Self, UnknownName> {
        let shares = Self {
            parts: [train, dev, test],
        };
        match shares.parts {
            [0, 0, 0] => Err(unknown(&shares.to_string())),
            _ => Ok(shares),
        }
    }

    /// Where a split is in a text of so many bytes. The splits leave nothing out, and none overlaps
    /// another.
    pub fn range(self, split: Split, bytes: usize) -> Range<usize> {
        let index = match split {
            Split::Train => 0,
            Split::Dev => 1,
            Split::Test => 2,
        };
        self.before(index, bytes)..self.before(index + 1, bytes)
    }

    /// How many of the bytes are of the first splits.
    fn before(self, splits: usize, bytes: usize) -> usize {
        let sum = |parts: &[u32]| parts.iter().map(|&part| u128::from(part)).sum::<u128>();
        // No more than `bytes`, for the sum of some parts is no more than that of all.
        (bytes as u128 * sum(&self.parts[..splits]) / sum(&self.parts)) as usize
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self { parts: [90, 5, 5] }
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [train, dev, test] = self.parts;
        write!(f, "{train}/{dev}/{test}")
    }
}

/// The text names no [`Shares`].
fn unknown(text: &str) -> UnknownName {
    let known = "three whole numbers for train, dev and test such as 90/5/5, not all of them 0";
    UnknownName::new("division in splits", text, known)
}

impl FromStr for Shares {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Result<Vec<u32>, _> = text.split('/').map(|part| part.trim().parse()).collect();
        match parts.as_deref() {
            Ok(&[train, dev, test]) => Self::new(train, dev, test),
            _ => Err(unknown(text)),
        }
    }
}

impl TryFrom<String> for Shares {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Shares> for String {
    fn from(shares: Shares) -> Self {
        shares.to_string()
    }
}
