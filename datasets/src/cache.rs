//! Samples packed into one file that is mapped into memory: a second start takes no reading, and
//! the samples take none of the process' own memory.
//!
//! [`cached`] wraps any task's reader. A packed file names what made it ([`Key`]): when a source
//! changes, or this crate's way of packing, it is made again.

mod format;
mod write;

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use burn_dataset::Dataset;
use memmap2::Mmap;

pub use crate::error::PackError;
use crate::printable::sha256;
use crate::side::is_side;
use crate::walk::files_below;
use crate::{DatasetError, Sample, Samples, Split};
use format::Parts;

/// What made a packed file: everything that decides what is in it.
#[derive(Clone, Debug)]
pub struct Key {
    /// The task.
    pub task: String,
    /// The split.
    pub split: Split,
    /// How samples were made of the sources: tokenizer, protocol, …
    pub options: String,
    /// The smallest id of a token: 0 for pixels, 1 where 0 is padding. Of the ids from there on
    /// 256 can be packed.
    pub first_id: u16,
    /// The files that are read; a folder stands for all files below it, whose names, sizes and times
    /// are looked at (side files of macOS and Windows excepted).
    pub sources: Vec<PathBuf>,
    /// What they looked like when they were first looked at.
    pub seen: Seen,
}

/// What the sources of a [`Key`] looked like: unknown at first. A key's clones share it.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<OnceLock<String>>);

impl Key {
    /// What is the same when the sources have changed: the file's name is made of it.
    fn identity(&self) -> String {
        let Self {
            task,
            split,
            options,
            first_id,
            sources,
            seen: _,
        } = self;
        let mut text = format!("{task}\n{split}\n{options}\n{first_id}\n");
        for source in sources {
            let path = fs::canonicalize(source).unwrap_or_else(|_| source.clone());
            text += &format!("{}\n", path.display());
        }
        text
    }

    /// The same key for another split that is read from the same files: they are looked at once for
    /// all such keys, which takes a while where they are many.
    pub fn for_split(&self, split: Split) -> Self {
        Self {
            split,
            ..self.clone()
        }
    }

    /// The identity and the state of the sources.
    fn state(&self) -> Result<String, DatasetError> {
        let seen = match self.seen.0.get() {
            Some(seen) => seen,
            None => {
                let seen = self.look()?;
                self.seen.0.get_or_init(|| seen)
            }
        };
        Ok(self.identity() + seen)
    }

    /// The state of the sources.
    fn look(&self) -> Result<String, DatasetError> {
        let mut text = String::new();
        for source in &self.sources {
            let file = fs::metadata(source).map_err(DatasetError::io("read", source))?;
            if file.is_dir() {
                text += &format!("{}\n", digest(source)?);
            } else {
                let (size, time) = stamp(&file);
                text += &format!("{size} {time}\n");
            }
        }
        Ok(text)
    }

    /// The file in a cache folder.
    pub fn path(&self, folder: &Path) -> PathBuf {
        let hash = &sha256(self.identity().as_bytes())[..16];
        folder.join(format!("{}-{}-{hash}.samples", self.task, self.split))
    }
}

/// The size of a file, and its time in nanoseconds.
fn stamp(file: &Metadata) -> (u64, u128) {
    let changed = file.modified().ok();
    let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (file.len(), since.map_or(0, |since| since.as_nanos()))
}

/// A digest of the names, sizes and times of all files below a folder.
fn digest(folder: &Path) -> Result<String, DatasetError> {
    let of = |path: &Path, file: Option<Metadata>| {
        let name = path.strip_prefix(folder).unwrap_or(path).as_os_str();
        let (size, time) = file.as_ref().map_or((0, 0), stamp);
        let parts = [
            name.as_encoded_bytes(),
            &[0],
            &size.to_le_bytes(),
            &time.to_le_bytes(),
        ];
        (!is_side(&name.to_string_lossy())).then(|| parts.concat())
    };
    let files = files_below(folder, &of)?.into_iter().flatten();
    Ok(sha256(&files.collect::<Vec<_>>().concat()))
}

/// Samples in a packed file.
pub struct Packed {
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    parts: Parts,
}

impl Packed {
    /// Maps a packed file.
    ///
    /// # Errors
    /// [`DatasetError::Packed`] if it is damaged or of another version; [`DatasetError::Io`].
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(DatasetError::io("open", path))?;
        // SAFETY: packed files are never written to under their final names, only replaced by a
        // rename, which leaves a mapped one as it is. If another program cut one short, a read
        // beyond its end would end the process; every way of mapping a file has that risk.
        let map = unsafe { Mmap::map(&file) }.map_err(DatasetError::io("map", path))?;
        let parts = Parts::parse(&map).map_err(|problem| DatasetError::Packed {
            path: path.to_owned(),
            problem,
        })?;
        Ok(Self {
            bytes: Box::new(map),
            parts,
        })
    }

    /// Samples from the bytes of a packed file.
    ///
    /// # Errors
    /// If they are damaged or of another version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, PackError> {
        let parts = Parts::parse(&bytes)?;
        Ok(Self {
            bytes: Box::new(bytes),
            parts,
        })
    }

    /// What made the file.
    pub fn key(&self) -> &str {
        let key = self.parts.key.clone();
        std::str::from_utf8(&(*self.bytes).as_ref()[key]).unwrap_or_default()
    }

    /// The class of each sample.
    pub fn labels(&self) -> &[u8] {
        &(*self.bytes).as_ref()[self.parts.labels.clone()]
    }

    /// The number of tokens of each sample, of both documents where there are two.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.parts.samples).map(|index| {
            let tokens = self.parts.tokens((*self.bytes).as_ref(), index);
            tokens.iter().map(|range| range.len()).sum()
        })
    }
}

impl Dataset<Sample> for Packed {
    /// # Panics
    /// If `index` is not below the number of samples, as Burn asks for.
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        assert!(index < self.parts.samples, "there is no sample {index}");
        Ok(self.parts.sample((*self.bytes).as_ref(), index))
    }

    fn len(&self) -> usize {
        self.parts.samples
    }
}

impl Samples for Packed {
    fn left_out(&self) -> usize {
        self.parts.left_out
    }

    fn longer_than(&self, tokens: usize) -> Result<usize, burn_dataset::DatasetError> {
        let is_longer = |&index: &usize| {
            let documents = self.parts.tokens((*self.bytes).as_ref(), index);
            documents.iter().any(|document| document.len() > tokens)
        };
        Ok((0..self.parts.samples).filter(is_longer).count())
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("key", &self.key())
            .field("samples", &self.parts.samples)
            .finish()
    }
}

/// Whether [`cached`] would find a packed file in `folder`, and make none.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn is_packed(folder: &Path, key: &Key) -> Result<bool, DatasetError> {
    packed(folder, key, &key.state()?).map(|packed| packed.is_some())
}

/// The packed file, if it is up to date.
fn packed(folder: &Path, key: &Key, state: &str) -> Result<Option<Packed>, DatasetError> {
    match Packed::open(&key.path(folder)) {
        Ok(packed) if packed.key() == state => Ok(Some(packed)),
        // Out of date, or damaged: made again.
        Ok(_) | Err(DatasetError::Packed { .. }) => Ok(None),
        Err(DatasetError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

/// The samples of a data set from its packed file in `folder`, which is made first where there is
/// none, or one that is damaged or out of date.
///
/// The file appears when it is complete and on the disk. `progress` is told how many samples of
/// how many are packed; `cancelled` is asked now and then whether to give up.
///
/// # Errors
/// What `open` returns, [`DatasetError::Read`] if a sample can't be read,
/// [`DatasetError::Cancelled`], [`DatasetError::Io`].
pub fn cached<D: Samples>(
    folder: &Path,
    key: &Key,
    open: impl FnOnce() -> Result<D, DatasetError>,
    progress: &dyn Fn(usize, usize),
    cancelled: &dyn Fn() -> bool,
) -> Result<Packed, DatasetError> {
    // Before the sources are read: what changes meanwhile is packed again the next time.
    let state = key.state()?;
    if let Some(packed) = packed(folder, key, &state)? {
        return Ok(packed);
    }
    let path = key.path(folder);
    write::write(
        &path,
        &state,
        key.first_id.min(1),
        open,
        progress,
        cancelled,
    )?;
    Packed::open(&path)
}
