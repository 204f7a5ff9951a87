//! Text for language models over bytes: enwik8, text8, and any other file.
//!
//! | type | what |
//! |---|---|
//! | [`Corpus`] | a file, mapped into memory and cut in train, dev and test |
//! | [`Vocabulary`] | the bytes that a model knows, and their ids |
//! | [`Part`] | a split as ids of a vocabulary |
//! | [`Streams`] | the training order: each row of a batch reads one long stretch of text |
//! | [`Scoring`] | the evaluation order: every byte but the first is scored exactly once |
//!
//! ```
//! use transformer_ls_datasets::Split;
//! use transformer_ls_datasets::corpus::{Corpus, Position, Shares, Streams};
//!
//! # fn main() -> Result<(), transformer_ls_datasets::DatasetError> {
//! let corpus = Corpus::from_bytes(b"to be or not to be ".repeat(50), Shares::default())?;
//! let train = corpus.part(Split::Train, corpus.vocabulary())?;
//! let streams = Streams::new(train, 4, 16)?;
//! let first = streams.at(Position::default(), 16);
//! assert_eq!(first.ids.len(), 4 * (16 + 1));
//! let second = streams.at(first.next, 16);
//! assert!(first.starts_epoch && !second.starts_epoch);
//! # Ok(())
//! # }
//! ```

mod part;
mod published;
mod scoring;
mod shares;
mod streams;
mod vocabulary;

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

pub use part::Part;
pub use published::Published;
pub use scoring::{Scored, Scoring};
pub use shares::Shares;
pub use streams::{Position, Segment, Streams};
pub use vocabulary::{UnknownByte, Vocabulary};

use crate::printable::{sha256, shown};
use crate::problem::FileProblem;
use crate::{DatasetError, Split, foreign};

/// How many bytes at a file's start say what it is.
const START: usize = 8192;

/// A text: a file of bytes, mapped into memory, and cut in three. Clones share it.
#[derive(Clone)]
pub struct Corpus {
    path: PathBuf,
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    vocabulary: Vocabulary,
    shares: Shares,
}

impl Corpus {
    /// Opens enwik8 or text8: `path` is the file, its zip archive, or a folder that holds either (see
    /// [`Published::places`]).
    ///
    /// The file is preferred to the archive, which is unpacked into a temporary file beside it, or in
    /// the system's temporary folder where that can't be written to. Reads all of it once, for the
    /// vocabulary.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] says where the file is to be had; [`DatasetError::BadFile`] for one
    /// that isn't the published one, by its size and the number of different bytes in it, and for a
    /// damaged archive; [`DatasetError::Io`].
    pub fn published(which: Published, path: &Path) -> Result<Self, DatasetError> {
        let (path, bytes) = published::open(which, path)?;
        let corpus = Self::new(path, bytes, Shares::default())?;
        let (found, wanted) = (corpus.vocabulary.len(), which.vocabulary_size());
        if found == wanted {
            return Ok(corpus);
        }
        let name = which.name();
        let problem = FileProblem::OtherText {
            name,
            found,
            wanted,
        };
        Err(DatasetError::bad_file(&corpus.path)(problem))
    }

    /// Opens a file of text, in whatever encoding: all that counts are bytes. Reads all of it once, for
    /// the vocabulary.
    ///
    /// # Errors
    /// [`DatasetError::BadFile`] for an empty file, for a folder or a pipe, and for an archive, a picture
    /// or another file that is known to be no text; [`DatasetError::Io`].
    pub fn file(path: &Path, shares: Shares) -> Result<Self, DatasetError> {
        let bytes = Arc::new(map(path)?);
        let start = &bytes[..bytes.len().min(START)];
        match foreign::binary(start) {
            Some(kind) => Err(DatasetError::bad_file(path)(FileProblem::NotText(kind))),
            None => Self::new(path.to_owned(), bytes, shares),
        }
    }

    /// A text in memory. Errors call its file `the text`.
    ///
    /// # Errors
    /// [`DatasetError::BadFile`] if there is none.
    pub fn from_bytes(bytes: Vec<u8>, shares: Shares) -> Result<Self, DatasetError> {
        Self::new(PathBuf::from("the text"), Arc::new(bytes), shares)
    }

    fn new(
        path: PathBuf,
        bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
        shares: Shares,
    ) -> Result<Self, DatasetError> {
        let text = (*bytes).as_ref();
        if text.is_empty() {
            return Err(DatasetError::bad_file(&path)(FileProblem::NoBytes));
        }
        Ok(Self {
            vocabulary: Vocabulary::of(text),
            path,
            bytes,
            shares,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The bytes of a split.
    pub fn split(&self, split: Split) -> &[u8] {
        &self.bytes()[self.range(split)]
    }

    /// Where a split is, in bytes from the file's start: train, dev and test lie one after the other.
    pub fn range(&self, split: Split) -> Range<usize> {
        self.shares.range(split, self.bytes().len())
    }

    /// How the file is cut.
    pub fn shares(&self) -> Shares {
        self.shares
    }

    /// The different bytes in all of the file, of which a model that is trained on it has ids.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The SHA-256 of all bytes, in hexadecimal digits: whether a run goes on with the text that it
    /// began with. Reads everything once.
    pub fn sha256(&self) -> String {
        sha256(self.bytes())
    }

    /// A split as ids of a vocabulary: of [`Corpus::vocabulary`] in training, and of the model's own where
    /// one is evaluated.
    ///
    /// # Errors
    /// [`DatasetError::BadFile`] names the first byte of the split that isn't in the vocabulary.
    pub fn part(&self, split: Split, vocabulary: &Vocabulary) -> Result<Part, DatasetError> {
        if *vocabulary != self.vocabulary {
            vocabulary
                .look_through(self.bytes(), self.range(split))
                .map_err(|unknown| {
                    DatasetError::bad_file(&self.path)(FileProblem::UnknownByte(unknown))
                })?;
        }
        Ok(Part::new(self.clone(), split, vocabulary.clone()))
    }

    /// What to know before training on it, if there is anything.
    pub fn warning(&self) -> Option<String> {
        let start = &self.bytes()[..self.bytes().len().min(START)];
        start.contains(&0).then(|| {
            format!(
                "{} has zero bytes near its start, as text has not: if it is no text, name another \
                 file with --data",
                shown(&self.path)
            )
        })
    }
}

impl std::fmt::Debug for Corpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corpus")
            .field("path", &self.path)
            .field("bytes", &self.bytes().len())
            .field("vocabulary", &self.vocabulary)
            .field("shares", &self.shares)
            .finish()
    }
}

/// Maps a file that has bytes.
fn map(path: &Path) -> Result<Mmap, DatasetError> {
    // Before it is opened: opening a pipe waits for somebody to write to it.
    let metadata = fs::metadata(path).map_err(DatasetError::io("open", path))?;
    let problem = match (metadata.is_dir(), metadata.is_file(), metadata.len()) {
        (true, ..) => Some(FileProblem::Folder),
        (_, false, _) => Some(FileProblem::NotRegular),
        (_, _, 0) => Some(FileProblem::NoBytes),
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(DatasetError::bad_file(path)(problem));
    }
    let file = File::open(path).map_err(DatasetError::io("open", path))?;
    map_file(&file, path)
}

fn map_file(file: &File, path: &Path) -> Result<Mmap, DatasetError> {
    // SAFETY: the file is the user's, and is only read. If another program cut it short, a read
    // beyond its end would end the process; every way of mapping a file has that risk.
    unsafe { Mmap::map(file) }.map_err(DatasetError::io("map", path))
}
