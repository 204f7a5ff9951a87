//! What a task is made of, as far as its data goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::Key;
use crate::fetch::Download;
use crate::files::Source;
use crate::input::InputError;
use crate::release::{Member, Release, Wanted};
use crate::report::Report;
use crate::{DatasetError, Options, Sample, Samples, Split, TokenIds};

/// What a task is made of, as far as its data goes. A [`Task`](crate::Task) is a name for one.
///
/// Code that handles all tasks reads it. It also determines what a task's data needs of a model.
pub struct Descriptor {
    /// The name: on the command line, in configurations, and of the folder in `data/`.
    pub name: &'static str,
    /// Another name that the command line takes.
    pub alias: Option<&'static str>,
    /// The number of classes.
    pub classes: usize,
    /// The token ids.
    pub ids: Ids,
    /// The number of tokens of the longest document.
    pub longest: usize,
    /// Whether a sample is two documents, which are judged together.
    pub pair: bool,
    /// Whether a token is a pixel, and its id the brightness.
    pub pixels: bool,
    /// Whether [`Options::difficulty`] is a choice.
    pub has_difficulty: bool,
    /// Whether [`Options::splits`] is a choice.
    pub has_splits: bool,
    /// Whether all splits are cut from one set of files. What [`Samples::left_out`] counts is then all
    /// that is left out of the set.
    pub is_cut: bool,
    /// The folders below the data's own in which its files lie.
    pub folders: &'static [&'static str],
    /// The folder in the archive that [`download`](Self::download) names.
    pub in_archive: &'static str,
    /// Where the published data is.
    pub download: fn() -> Download,
    pub(crate) data: &'static dyn Data,
}

/// The token ids of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// So many, padding included.
    Count(usize),
    /// Those of [`Options::tokenizer`].
    OfTokenizer,
}

/// How a task's data is found, read and checked.
pub(crate) trait Data: Sync {
    /// Where the files are, of a task whose published ones are in the Long Range Arena's archive.
    fn source(&self, _dir: &Path, _options: &Options) -> Option<Source> {
        None
    }

    /// What the file at a path in that archive is to the task.
    fn member<'a>(&self, _path: &'a str, _options: &Options) -> Member<'a> {
        Member::No
    }

    /// See [`Descriptor::cache_key`].
    fn cache_key(&self, dir: &Path, split: Split, options: &Options) -> Result<Key, DatasetError>;

    /// See [`Descriptor::open`].
    fn open(
        &self,
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
        options: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError>;

    /// See [`Descriptor::encode`].
    fn encode(&self, typed: &str, options: &Options) -> Result<TokenIds, InputError>;

    /// Reads all of the data, and reports what is there and what is wrong with it.
    fn check(&self, path: &Path, report: &mut Report);

    /// See [`Descriptor::warning`].
    fn warning(&self, _dir: &Path, _options: &Options) -> Option<String> {
        None
    }
}

impl Descriptor {
    /// Whether [`Options::tokenizer`] is a choice.
    pub fn has_tokenizer(&self) -> bool {
        self.ids == Ids::OfTokenizer
    }

    /// The archive that the samples are read from; `None` where `dir` has the files in a folder,
    /// where there are none at all, and for tasks that are not part of `lra_release.gz`.
    pub fn archive(&self, dir: &Path, options: &Options) -> Option<PathBuf> {
        match self.data.source(dir, options)? {
            Source::Archive(path) => Some(path),
            Source::Folder(_) => None,
        }
    }

    /// Reads an archive, gzipped or not, through once, and copies the task's files out of it.
    ///
    /// Of several folders with the task's files the one inside most folders `lra_release` is taken,
    /// as everybody does. Of Pathfinder's images those of the difficulty are. The copy lies in
    /// `near` (or the folder above it that exists) or, where nothing can be written there, in the
    /// system's temporary folder.
    ///
    /// `progress` is told now and then how many bytes of how many of the archive were read;
    /// `cancelled` is asked many times a second.
    ///
    /// # Errors
    /// [`DatasetError::BadFile`] for a damaged archive, one without the task's files, or with two
    /// folders of them; [`DatasetError::Cancelled`]; [`DatasetError::Io`].
    pub fn release(
        &self,
        archive: &Path,
        options: &Options,
        near: &Path,
        progress: &dyn Fn(u64, u64),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Release, DatasetError> {
        let wanted = Wanted {
            task: self.name,
            member: &|path| self.data.member(path, options),
        };
        Release::read(archive, &wanted, near, progress, cancelled)
    }

    /// What names a packed copy of a split, see [`cached`](crate::cache::cached).
    ///
    /// # Errors
    /// If there are no files in `dir`, or not all.
    pub fn cache_key(
        &self,
        dir: &Path,
        split: Split,
        options: &Options,
    ) -> Result<Key, DatasetError> {
        self.data.cache_key(dir, split, options)
    }

    /// Opens a split of the files in `dir`, a folder or an archive, or of an archive that was read
    /// before.
    ///
    /// # Errors
    /// Files that are missing or malformed, with file and line.
    pub fn open(
        &self,
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
        options: &Options,
    ) -> Result<Box<dyn Samples>, DatasetError> {
        self.data.open(dir, release, split, options)
    }

    /// A sample from text that a user typed. Its label is unknown, and set to 0.
    ///
    /// For ListOps that is an expression, for Text a text, for Retrieval two texts with a tab between
    /// them, and for Image and Pathfinder the path of a grey PNG of the task's size.
    ///
    /// # Errors
    /// Text that is no input of the task.
    pub fn encode(&self, typed: &str, options: &Options) -> Result<Sample, InputError> {
        let documents = self.data.encode(typed, options)?;
        Ok(Sample {
            documents,
            label: 0,
        })
    }

    /// What to know before training on the data in `dir`, if there is anything.
    pub fn warning(&self, dir: &Path, options: &Options) -> Option<String> {
        self.data.warning(dir, options)
    }
}
