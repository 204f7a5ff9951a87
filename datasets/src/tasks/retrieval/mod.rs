//! Retrieval: does one paper cite the other? (Radev et al. 2009's ACL Anthology Network, byte by
//! byte as in the Long Range Arena.)

mod check;
mod descriptor;
mod index;
mod read;

use std::path::{Path, PathBuf};

pub(crate) use descriptor::DESCRIPTOR;
pub use index::{Pair, parse_line};
pub use read::{Retrieval, cache_key};

use crate::files::{self, Source};
use crate::release::{Member, Wanted};
use crate::{DatasetError, Split, text};

/// The number of classes: unrelated, or one cites the other.
pub const CLASSES: usize = 2;
/// The number of ids: 256 bytes and padding.
pub const VOCAB_SIZE: usize = 257;
/// Bytes after which each document is cut off, in every published protocol.
pub const TRUNCATION: usize = text::TRUNCATION;

/// The name of the file that holds a split, as published.
pub const fn file_name(split: Split) -> &'static str {
    match split {
        Split::Train => "new_aan_pairs.train.tsv",
        Split::Dev => "new_aan_pairs.eval.tsv",
        Split::Test => "new_aan_pairs.test.tsv",
    }
}

/// The files in an archive.
const WANTED: Wanted = Wanted {
    task: "retrieval",
    member: &|path| Member::of_splits(path, file_name),
};

/// The folders in which the files may lie, the likelier first.
pub fn places(dir: &Path) -> Vec<PathBuf> {
    let below = [
        "lra_release/lra_release/tsv_data",
        "lra_release/tsv_data",
        "tsv_data",
    ];
    files::places(dir, &below)
}

/// Whether all three splits can be opened from `dir`, a folder or the published archive.
pub fn is_prepared(dir: &Path) -> bool {
    source(dir).is_some_and(|source| source.holds_splits(file_name))
}

/// Where the files are; all splits come from the first place that holds any.
fn source(dir: &Path) -> Option<Source> {
    Source::of_splits(dir, places(dir), file_name)
}

/// What is wrong with a folder that has some of the files.
fn incomplete(folder: &Path) -> Option<DatasetError> {
    let advice = "copy what is missing there, or unpack lra_release.gz again, completely";
    files::incomplete(folder, file_name, advice)
}
