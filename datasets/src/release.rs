//! The Long Range Arena's archive, `lra_release.gz`, read where it lies.
//!
//! An archive is read from its start to its end, and training wants samples in any order. So the
//! files of one task are copied out of it, into a temporary file that is gone when nobody uses it
//! any more, however the process ends. [`cached`](crate::cache::cached) packs the samples from
//! there; later starts take those, as long as the archive is there and the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::archive::{COPY, each_entry, inside, is_archive};
use crate::check::Task;
use crate::files::Source;
use crate::pathfinder::{Difficulty, Size, folder};
use crate::printable::shown;
use crate::problem::FileProblem;
use crate::{DatasetError, Split, listops, retrieval};

/// The archive's published name. It is a tar, too.
const NAME: &str = "lra_release.gz";
/// Bytes that are read between two reports.
const STEP: u64 = 4 << 20;

/// The archive that `path` names: itself, or one that lies in it under the published name.
pub(crate) fn find(path: &Path) -> Option<PathBuf> {
    let is_release = |path: &PathBuf| {
        is_archive(path) || path.file_name().is_some_and(|name| name == NAME) && path.is_file()
    };
    [path.to_owned(), path.join(NAME)]
        .into_iter()
        .find(is_release)
}

/// The archive that a task's samples are read from; `None` where `dir` has its files in a folder,
/// where there are none at all, and for tasks that are not part of `lra_release.gz`.
pub fn archive_of(task: Task, difficulty: Difficulty, dir: &Path) -> Option<PathBuf> {
    let source = match task {
        Task::ListOps => listops::source(dir),
        Task::Retrieval => retrieval::source(dir),
        Task::Pathfinder(size) => folder::source(dir, size, difficulty),
        Task::Text | Task::Image => None,
    };
    match source? {
        Source::Archive(path) => Some(path),
        Source::Folder(_) => None,
    }
}

/// The files of ListOps, Retrieval or Pathfinder out of an archive.
#[derive(Debug)]
pub struct Release {
    archive: PathBuf,
    /// Size and date of the archive that was read.
    state: State,
    /// The path in the archive of the folder with the files.
    folder: String,
    /// The files, one after the other.
    file: Arc<File>,
    /// Where in `file` each is, by its path from the folder.
    parts: HashMap<String, Range<u64>>,
    /// Side files in the archive, which were passed over.
    side_files: usize,
}

type State = (u64, Option<SystemTime>);

fn state(archive: &Path) -> Result<State, DatasetError> {
    let file = fs::metadata(archive).map_err(DatasetError::io("read", archive))?;
    Ok((file.len(), file.modified().ok()))
}

impl Release {
    /// Reads an archive, gzipped or not, through once, and copies the files of `task` out of it.
    ///
    /// Of several folders with the task's files the one inside most folders `lra_release` is taken,
    /// as everybody does. Of Pathfinder's images those of `difficulty` are. The copy lies in `near`
    /// (or the folder above it that exists) or, where nothing can be written there, in the system's
    /// temporary folder.
    ///
    /// `progress` is told now and then how many bytes of how many of the archive were read;
    /// `cancelled` is asked many times a second.
    ///
    /// # Errors
    /// [`DatasetError::BadFile`] for a damaged archive, one without the task's files, or with two
    /// folders of them; [`DatasetError::Cancelled`]; [`DatasetError::Io`].
    pub fn read(
        archive: &Path,
        task: Task,
        difficulty: Difficulty,
        near: &Path,
        progress: &dyn Fn(u64, u64),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, DatasetError> {
        let state = state(archive)?;
        let (file, into) = temporary(near)?;
        let mut copy = BufWriter::with_capacity(1 << 20, file);
        let (end, told) = (Cell::new(0), Cell::new(0));
        let watch = |read| {
            if cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            if read >= told.get() + STEP {
                told.set(read);
                progress(read, state.0);
            }
            Ok(())
        };
        let found = RefCell::new(Found::default());
        let visited = each_entry(
            archive,
            &watch,
            |name| found.borrow_mut().wants(task, difficulty, name),
            |name, entry| {
                let start = end.get();
                end.set(start + entry.copy_to(&mut copy, &into)?);
                if let Member::Of { folder, name } = member(task, difficulty, name) {
                    found.borrow_mut().add(folder, name, start..end.get());
                }
                Ok(ControlFlow::Continue(()))
            },
        );
        if cancelled() {
            return Err(DatasetError::Cancelled);
        }
        let side_files = visited?;
        let file = copy.into_inner();
        let file = file.map_err(|error| DatasetError::io(COPY, &into)(error.into_error()))?;
        let (folder, parts) = found
            .into_inner()
            .best(task, difficulty)
            .map_err(|problem| DatasetError::bad_file(archive)(problem))?;
        Ok(Self {
            archive: archive.to_owned(),
            state,
            folder,
            parts,
            file: Arc::new(file),
            side_files,
        })
    }

    /// Samples that are packed from here are named after the archive as it is then.
    pub(crate) fn is_unchanged(&self) -> Result<(), DatasetError> {
        if state(&self.archive)? == self.state {
            return Ok(());
        }
        Err(DatasetError::bad_file(&self.archive)(FileProblem::Changed))
    }

    pub(crate) fn side_files(&self) -> usize {
        self.side_files
    }

    pub(crate) fn place(&self) -> PathBuf {
        inside(&self.archive, &self.folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        inside(&self.place(), name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.parts.keys()
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where in the file a part is.
    pub(crate) fn part(&self, name: &str) -> Result<Range<u64>, DatasetError> {
        let part = self.parts.get(name).cloned();
        part.ok_or_else(|| {
            let name = shown(&self.path(name));
            DatasetError::bad_file(&self.archive)(FileProblem::Missing { name })
        })
    }
}

/// A temporary file, and the folder that it is in.
pub(crate) fn temporary(near: &Path) -> Result<(File, PathBuf), DatasetError> {
    let made = |folder: &Path| match tempfile::tempfile_in(folder) {
        Ok(file) => Ok((file, folder.to_owned())),
        Err(cause) => Err(DatasetError::io(COPY, folder)(cause)),
    };
    let mut folders = near.ancestors().filter(|p| !p.as_os_str().is_empty());
    let folder = folders.find(|folder| folder.is_dir());
    match made(folder.unwrap_or(Path::new("."))) {
        Err(error) if error.is_read_only() => made(&env::temp_dir()),
        made => made,
    }
}

/// What was found in an archive so far.
#[derive(Default)]
struct Found {
    /// The task's files, by their folder and by their path from it.
    folders: BTreeMap<String, HashMap<String, Range<u64>>>,
    /// The most folders `lra_release` that a folder is in.
    deepest: usize,
    /// A file of another difficulty.
    other: Option<Difficulty>,
}

impl Found {
    fn wants(&mut self, task: Task, difficulty: Difficulty, name: &str) -> bool {
        match member(task, difficulty, name) {
            Member::Of { folder, .. } => depth(folder) >= self.deepest,
            Member::OfOther(difficulty) => {
                self.other = Some(difficulty);
                false
            }
            Member::No => false,
        }
    }

    fn add(&mut self, folder: &str, name: &str, part: Range<u64>) {
        if is_sign(name) {
            self.deepest = self.deepest.max(depth(folder));
        }
        let parts = self.folders.entry(folder.to_owned()).or_default();
        parts.insert(name.to_owned(), part);
    }

    /// The folder that is meant, and its files.
    fn best(
        self,
        task: Task,
        difficulty: Difficulty,
    ) -> Result<(String, HashMap<String, Range<u64>>), FileProblem> {
        let mut best = self.folders.into_iter().filter(|(folder, parts)| {
            depth(folder) == self.deepest && parts.keys().any(|name| is_sign(name))
        });
        match (best.next(), best.next(), self.other) {
            (Some(only), None, _) => Ok(only),
            (Some((folder, _)), Some((other, _)), _) => Err(FileProblem::Twice {
                task: task.to_string(),
                folder,
                other,
            }),
            (None, _, Some(found)) => Err(FileProblem::Difficulty {
                found,
                wanted: difficulty,
            }),
            (None, _, None) => Err(FileProblem::Missing {
                name: format!("{task}'s data"),
            }),
        }
    }
}

/// Whether a file shows that its folder is a task's, and is not only welcome there.
fn is_sign(name: &str) -> bool {
    name.ends_with(".tsv") || name.ends_with(".npy")
}

fn depth(folder: &str) -> usize {
    folder.split('/').filter(|f| *f == "lra_release").count()
}

/// What a file in an archive is to a task.
enum Member<'a> {
    /// One of its files: the folder with all of them, and the path from there.
    Of {
        folder: &'a str,
        name: &'a str,
    },
    /// An image of another difficulty.
    OfOther(Difficulty),
    No,
}

fn member(task: Task, difficulty: Difficulty, path: &str) -> Member<'_> {
    let (parent, file_name) = path.rsplit_once('/').unwrap_or(("", path));
    let of_split = |names: fn(Split) -> &'static str| {
        let mut splits = Split::ALL.into_iter();
        match splits.any(|split| names(split) == file_name) {
            true => Member::Of {
                folder: parent,
                name: file_name,
            },
            false => Member::No,
        }
    };
    match task {
        Task::ListOps => of_split(listops::file_name),
        Task::Retrieval => of_split(retrieval::file_name),
        Task::Pathfinder(size) => {
            let Some(folder) = image_folder(parent, file_name) else {
                return Member::No;
            };
            let is = |own: &'static str| folder.split('/').any(|part| part == own);
            let mut sizes = Size::ALL.into_iter();
            if sizes.any(|other| other != size && is(other.folder())) {
                return Member::No;
            }
            let mut difficulties = Difficulty::ALL.into_iter();
            match difficulties.find(|other| *other != difficulty && is(other.folder())) {
                Some(other) => Member::OfOther(other),
                None => Member::Of {
                    folder,
                    name: path[folder.len()..].trim_start_matches('/'),
                },
            }
        }
        Task::Text | Task::Image => Member::No,
    }
}

/// The folder with `metadata` and `imgs` that a file is below.
fn image_folder<'a>(parent: &'a str, file_name: &str) -> Option<&'a str> {
    /// What is above a folder of a name.
    fn above<'a>(path: &'a str, name: &str) -> Option<&'a str> {
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        (last == name).then_some(above)
    }
    if file_name.ends_with(".npy") {
        above(parent, folder::METADATA)
    } else if file_name.ends_with(".png") {
        let (images, _batch) = parent.rsplit_once('/')?;
        above(images, folder::IMAGES)
    } else {
        let is_origin = file_name == folder::ORIGIN || file_name == folder::UNFINISHED;
        is_origin.then_some(parent)
    }
}
