//! Text: is a film review positive? (Maas et al. 2011, byte by byte as in the Long Range Arena.)

mod check;
mod descriptor;
mod read;

use std::path::{Path, PathBuf};

pub(crate) use descriptor::DESCRIPTOR;
use read::find;
pub use read::{Text, cache_key, trimmed};

use crate::files;
use crate::input::InputError;
use crate::sample::ids;

/// The number of classes: negative and positive.
pub const CLASSES: usize = 2;
/// The number of ids: 256 bytes and padding.
pub const VOCAB_SIZE: usize = 257;
/// Bytes after which a document is cut off, in every published protocol.
pub const TRUNCATION: usize = 4000;

/// The ids of a text's bytes: byte + 1, for 0 is padding; at most [`TRUNCATION`].
///
/// ```
/// assert_eq!(transformer_ls_datasets::text::encode(b"Oh"), [80, 105]);
/// ```
pub fn encode(text: &[u8]) -> Vec<u16> {
    ids(&text[..text.len().min(TRUNCATION)], 1)
}

/// The ids of a text that a user typed.
pub(crate) fn typed(text: &str) -> Result<Vec<u16>, InputError> {
    match text.trim() {
        "" => Err(InputError::Empty),
        text => Ok(encode(text.as_bytes())),
    }
}

/// Where the reviews may lie: `path` itself, a folder or an archive, or below it.
pub fn places(path: &Path) -> Vec<PathBuf> {
    files::places(path, &["aclImdb", "aclImdb_v1.tar.gz"])
}

/// Whether the reviews can be opened from `path`.
pub fn is_prepared(path: &Path) -> bool {
    find(path).is_some()
}
