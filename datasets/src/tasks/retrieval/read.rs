//! Reading pairs of papers, one at a time, from files that are larger than memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::Dataset;

use super::index::{Index, parse_line};
use super::{TRUNCATION, WANTED, file_name, incomplete, places, source};
use crate::cache::{Key, Seen};
use crate::files::{Files, Source};
use crate::problem::FileProblem;
use crate::read_at::Section;
use crate::release::Release;
use crate::text::encode;
use crate::{DatasetError, Sample, Samples, Split, TokenIds};

/// One split of Retrieval. Pairs are read from the file when they are asked for; what is kept in
/// memory is where each line begins, 13 bytes a pair.
#[derive(Clone)]
pub struct Retrieval {
    path: PathBuf,
    file: Section,
    index: Index,
}

fn locate(dir: &Path, split: Split) -> Result<Source, DatasetError> {
    let found = source(dir).ok_or_else(|| DatasetError::NotFound {
        task: WANTED.task,
        dir: dir.to_owned(),
        looked: places(dir)
            .iter()
            .map(|place| place.join(file_name(split)))
            .collect(),
        advice: "The pairs are part of lra_release.gz of the Long Range Arena \
                 (google-research/long-range-arena): fetch it with `ls-train fetch retrieval`, or \
                 name it, or the folder that it was unpacked to, with --data",
    })?;
    found.with(file_name(split), incomplete)
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached).
///
/// # Errors
/// [`DatasetError::NotFound`].
pub fn cache_key(dir: &Path, split: Split) -> Result<Key, DatasetError> {
    Ok(Key {
        task: WANTED.task.to_owned(),
        split,
        options: format!("bytes {TRUNCATION}"),
        first_id: 1,
        sources: vec![locate(dir, split)?.file(file_name(split))],
        seen: Seen::default(),
    })
}

impl Retrieval {
    /// Opens a split in `dir`: a folder with the files, or an unpacked `lra_release` (see
    /// [`places`]), or the published archive, or a folder that holds that. The file is read through
    /// once, and every line checked.
    ///
    /// Lines end in LF, CRLF or CR. A file may be gzipped (`new_aan_pairs.train.tsv.gz`): it is
    /// unpacked to a temporary file that is removed when it is not used any more.
    ///
    /// Pairs with an empty document are left out: there is nothing to compare.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] lists where the file was looked for,
    /// [`DatasetError::Malformed`] names file and line, [`DatasetError::NoSamples`] an empty file.
    pub fn open(dir: &Path, split: Split) -> Result<Self, DatasetError> {
        Self::open_in(dir, None, split)
    }

    /// The same, or a split of an archive that was read before.
    pub(crate) fn open_in(
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
    ) -> Result<Self, DatasetError> {
        let files = match release {
            Some(release) => Files::of(release)?,
            None => locate(dir, split)?.files(&WANTED)?,
        };
        let (path, file) = files.section(file_name(split))?;
        let index = Index::of(file.clone(), &path)?;
        Ok(Self { path, file, index })
    }

    /// The file that is read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class of each pair.
    pub fn labels(&self) -> &[u8] {
        &self.index.labels
    }

    /// Whether the last line has no end: the file may have been cut off in its last document.
    pub(crate) fn has_open_end(&self) -> bool {
        self.index.has_open_end
    }

    /// The number of bytes of each pair's line.
    pub(crate) fn line_lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.index.lengths.iter().map(|&length| length as usize)
    }

    fn read(&self, index: usize) -> Result<Sample, DatasetError> {
        let mut line = vec![0; self.index.lengths[index] as usize];
        let read = self.file.read_at(&mut line, self.index.starts[index]);
        // Every line was checked when the file was opened.
        let changed = || DatasetError::bad_file(&self.path)(FileProblem::Changed);
        read.map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => changed(),
            _ => DatasetError::io("read", &self.path)(cause),
        })?;
        let pair = parse_line(&line).map_err(|_| changed())?;
        Ok(Sample {
            documents: TokenIds::Two(encode(pair.first), encode(pair.second)),
            label: pair.label,
        })
    }
}

impl Dataset<Sample> for Retrieval {
    /// # Errors
    /// If the file can't be read any more, or was changed.
    ///
    /// # Panics
    /// If `index` is not below the number of samples, as Burn asks for.
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        self.read(index).map_err(burn_dataset::DatasetError::new)
    }

    fn len(&self) -> usize {
        self.index.labels.len()
    }
}

impl Samples for Retrieval {
    /// The pairs with an empty document.
    fn left_out(&self) -> usize {
        self.index.skipped
    }
}

impl std::fmt::Debug for Retrieval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retrieval")
            .field("path", &self.path)
            .field("samples", &self.index.labels.len())
            .finish()
    }
}
