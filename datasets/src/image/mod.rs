//! Image: grey CIFAR-10 (Krizhevsky 2009), a pixel a token, one of ten classes.

mod read;
mod records;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use read::Source;
pub use read::{Image, cache_key};
pub use records::{Records, parse_binary};

/// The number of classes.
pub const CLASSES: usize = 10;
/// The number of ids: the brightness of a pixel, 0 to 255.
pub const VOCAB_SIZE: usize = 256;
/// The number of tokens: the pixels of an image, row by row.
pub const TOKENS: usize = SIDE * SIDE;
/// The number of rows, and of columns.
pub const SIDE: usize = 32;

/// Who drew the line between training and dev. The test split is the publisher's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The Long Range Arena's, and with it Nyströmformer's: TensorFlow Datasets' order.
    #[default]
    Tfds,
    /// S4's and Mega's: PyTorch's permutation with seed 42.
    S4,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Tfds => "tfds",
            Protocol::S4 => "s4",
        })
    }
}

/// The text names no [`Protocol`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no split protocol {0:?}: use tfds or s4")]
pub struct UnknownProtocol(pub String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Protocol::Tfds, Protocol::S4]
            .into_iter()
            .find(|protocol| protocol.to_string() == text)
            .ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// Where the batches may lie: `path` itself, a folder or an archive, or below it.
pub fn places(path: &Path) -> Vec<PathBuf> {
    let below = ["cifar-10-batches-bin", "cifar-10-binary.tar.gz"];
    let below = below.iter().map(|name| path.join(name));
    std::iter::once(path.to_owned()).chain(below).collect()
}

/// Whether the batches can be opened from `path`.
pub fn is_prepared(path: &Path) -> bool {
    Source::find(path).is_some()
}
