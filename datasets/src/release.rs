//! The Long Range Arena's archive, `lra_release.gz`, read where it lies.
//!
//! An archive is read from its start to its end, and training wants samples in any order. So the
//! files of one task are copied out of it, into a temporary file that is gone when it is not used
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
use crate::atomic::folder_of;
use crate::printable::shown;
use crate::problem::FileProblem;
use crate::{DatasetError, Split};

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
    /// See [`Descriptor::release`](crate::Descriptor::release).
    pub(crate) fn read(
        archive: &Path,
        wanted: &Wanted,
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
            |name| found.borrow_mut().wants((wanted.member)(name)),
            |name, entry| {
                let start = end.get();
                end.set(start + entry.copy_to(&mut copy, &into)?);
                if let Member::Of(file) = (wanted.member)(name) {
                    found.borrow_mut().add(&file, start..end.get());
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
            .best(wanted.task)
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

    /// The same without reports of progress, with the temporary file beside the archive.
    pub(crate) fn read_all(archive: &Path, wanted: &Wanted) -> Result<Arc<Self>, DatasetError> {
        let near = folder_of(archive);
        Self::read(archive, wanted, near, &|_, _| {}, &|| false).map(Arc::new)
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
            DatasetError::bad_file(&self.archive)(FileProblem::Missing(name))
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

/// Which files of an archive are copied out of it.
pub(crate) struct Wanted<'a> {
    /// The task that they are of, for messages.
    pub task: &'static str,
    /// What the file at a path in the archive is to the task.
    pub member: &'a dyn for<'p> Fn(&'p str) -> Member<'p>,
}

/// What a file in an archive is to a task.
pub(crate) enum Member<'a> {
    /// One of its files.
    Of(MemberFile<'a>),
    /// A file that would be one if the task were another in this respect.
    Other(FileProblem),
    /// None of its files.
    No,
}

/// A file of a task in an archive.
pub(crate) struct MemberFile<'a> {
    /// The folder with all of the task's files.
    pub folder: &'a str,
    /// The path from there.
    pub name: &'a str,
    /// Whether it shows that the folder is the task's, and is not only welcome there.
    pub is_sign: bool,
}

impl<'a> Member<'a> {
    /// What the file at `path` is to a task with a file for each split.
    pub fn of_splits(path: &'a str, file_name: fn(Split) -> &'static str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match Split::ALL.into_iter().any(|split| file_name(split) == name) {
            true => Member::Of(MemberFile {
                folder,
                name,
                is_sign: true,
            }),
            false => Member::No,
        }
    }
}

/// What was found in an archive so far.
#[derive(Default)]
struct Found {
    /// The task's files, by their folder.
    folders: BTreeMap<String, Folder>,
    /// The most folders `lra_release` that a folder is in.
    deepest: usize,
    /// What is wrong with a file that would be one of the task's.
    other: Option<FileProblem>,
}

/// A folder with files that may be the task's.
#[derive(Default)]
struct Folder {
    /// The files, by their path from the folder.
    parts: HashMap<String, Range<u64>>,
    /// Whether there is a sign that they are the task's.
    has_sign: bool,
}

impl Found {
    fn wants(&mut self, member: Member) -> bool {
        match member {
            Member::Of(file) => depth(file.folder) >= self.deepest,
            Member::Other(problem) => {
                self.other = Some(problem);
                false
            }
            Member::No => false,
        }
    }

    fn add(&mut self, file: &MemberFile, part: Range<u64>) {
        if file.is_sign {
            self.deepest = self.deepest.max(depth(file.folder));
        }
        let folder = self.folders.entry(file.folder.to_owned()).or_default();
        folder.has_sign |= file.is_sign;
        folder.parts.insert(file.name.to_owned(), part);
    }

    /// The folder that is meant, and its files.
    fn best(self, task: &str) -> Result<(String, HashMap<String, Range<u64>>), FileProblem> {
        let mut best = self
            .folders
            .into_iter()
            .filter(|(path, folder)| depth(path) == self.deepest && folder.has_sign);
        match (best.next(), best.next(), self.other) {
            (Some((path, folder)), None, _) => Ok((path, folder.parts)),
            (Some((folder, _)), Some((other, _)), _) => Err(FileProblem::Twice {
                task: task.to_owned(),
                folder,
                other,
            }),
            (None, _, Some(problem)) => Err(problem),
            (None, _, None) => Err(FileProblem::Missing(format!("{task}'s data"))),
        }
    }
}

fn depth(folder: &str) -> usize {
    folder.split('/').filter(|f| *f == "lra_release").count()
}

/// Which of the two `lra_release` folders, one inside the other, unpacked data is in.
pub(crate) struct Copy {
    /// The outer one.
    pub outer: PathBuf,
    pub is_inner: bool,
}

impl Copy {
    pub fn of(place: &Path) -> Option<Self> {
        let full = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let is_release = |path: &&Path| path.file_name().is_some_and(|name| name == "lra_release");
        let last = full.ancestors().find(is_release)?;
        let above = last.parent().filter(is_release);
        Some(Self {
            outer: above.unwrap_or(last).to_owned(),
            is_inner: above.is_some(),
        })
    }
}
