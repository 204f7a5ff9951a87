//! ListOps: the value of a nested list operation, one of ten classes (Nangia and Bowman 2018;
//! Long Range Arena's long variant, Tay et al. 2021).
//!
//! An expression such as `[MAX 2 9 [MIN 4 7 ] 0 ]` has operators `MIN`, `MAX`, `MED` (the median,
//! rounded down) and `SM` (the sum modulo 10), digits, and trees of 500 to 2000 tokens.
//!
//! * [`generate`](generate::generate) makes the data: nothing has to be downloaded;
//! * [`ListOps`] reads it, generated or published, as a Burn data set; a [`cached`](crate::cache::cached)
//!   one is mapped into memory;
//! * [`Tokenizer`] says which tokens the model sees;
//! * [`evaluate`] works an expression out, [`values`] all that is in it.

mod check;
mod descriptor;
mod evaluate;
mod expression;
pub mod generate;
mod read;
mod tokens;
mod tree;

use std::path::{Path, PathBuf};

pub use crate::error::TokenError;
pub use crate::options::Tokenizer;
pub(crate) use descriptor::DESCRIPTOR;
pub use evaluate::{ExpressionError, InnerValue, evaluate, spread, values};
pub use expression::Operator;
pub(crate) use expression::shorten;
pub use read::{ListOps, cache_key};
pub use tree::Tree;

use crate::files::{self, Source};
use crate::release::{Member, Wanted};
use crate::{DatasetError, Split, State};

/// The number of classes: the values 0 to 9.
pub const CLASSES: usize = 10;

/// The first line of a data file.
pub(crate) const HEADER: &str = "Source\tTarget";

/// The name of the file that holds a split, as the Long Range Arena calls it.
pub const fn file_name(split: Split) -> &'static str {
    match split {
        Split::Train => "basic_train.tsv",
        Split::Dev => "basic_val.tsv",
        Split::Test => "basic_test.tsv",
    }
}

/// The files in an archive.
const WANTED: Wanted = Wanted {
    task: "listops",
    member: &|path| Member::of_splits(path, file_name),
};

/// Whether all three splits can be opened from `dir`: it holds the files itself, or an unpacked
/// `lra_release` that does; or it is the published archive, or holds that.
pub fn is_prepared(dir: &Path) -> bool {
    source(dir).is_some_and(|source| source.holds_splits(file_name))
}

/// The folders in which the files may lie, the likelier first.
///
/// The published archive has one `lra_release` inside another; the inner one is the one in use.
fn places(dir: &Path) -> Vec<PathBuf> {
    let below = [
        "lra_release/lra_release/listops-1000",
        "lra_release/listops-1000",
        "listops-1000",
    ];
    files::places(dir, &below)
}

/// Where the files are.
///
/// All splits are read from the first place that holds any, so that train and test never come from
/// two copies of the data.
fn source(dir: &Path) -> Option<Source> {
    Source::of_splits(dir, places(dir), file_name)
}

/// What is wrong with a folder that has some of the files.
fn incomplete(folder: &Path) -> Option<DatasetError> {
    let advice = "copy what is missing there; or move these away, and generate all files with \
                  `ls-train generate listops`";
    files::incomplete(folder, file_name, advice)
}

/// What is at a path where data could be generated. A generation that was killed left nothing.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn state(dir: &Path) -> Result<State, DatasetError> {
    match source(dir) {
        Some(Source::Archive(_)) => Ok(State::Complete),
        Some(Source::Folder(place)) => {
            Ok(incomplete(&place).map_or(State::Complete, State::Partial))
        }
        None => State::without_data(dir, &[]),
    }
}
