//! Image: grey CIFAR-10 (Krizhevsky 2009), a pixel a token, one of ten classes.

mod check;
mod descriptor;
mod read;
mod records;

use std::path::{Path, PathBuf};

use crate::files;
pub use crate::options::Protocol;
pub(crate) use descriptor::DESCRIPTOR;
use read::find;
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

/// Where the batches may lie: `path` itself, a folder or an archive, or below it.
pub fn places(path: &Path) -> Vec<PathBuf> {
    files::places(path, &["cifar-10-batches-bin", "cifar-10-binary.tar.gz"])
}

/// Whether the batches can be opened from `path`.
pub fn is_prepared(path: &Path) -> bool {
    find(path).is_some()
}
