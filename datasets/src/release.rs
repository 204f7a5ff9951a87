//! The Long Range Arena's archive, `lra_release.gz`, read where it lies.
//!
//! An archive is read from its start to its end, and training wants samples in any order. So the
//! files of one task are copied out of it, into a file without a name that is gone when nobody
//! uses it any more, however the process ends. [`cached`](crate::cache::cached) packs the samples
//! from there; a second start does not read the archive at all.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::{each_entry, inside, is_archive};
use crate::check::Task;
use crate::pathfinder::{Difficulty, Size, folder};
use crate::problem::FileProblem;
use crate::read_at::{Section, read_at};
use crate::{DatasetError, Split, listops, retrieval};

/// The archive's published name. It is a tar, too.
const NAME: &str = "lra_release.gz";
/// Bytes that are read between two reports.
const STEP: u64 = 4 << 20;

/// The archive that `path` names: itself, or one that lies in it under the published name.
fn find(path: &Path) -> Option<PathBuf> {
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
    /// The path in the archive of the folder with the files.
    folder: String,
    /// The files, one after the other.
    file: Arc<File>,
    /// Where in `file` each is, by its path from the folder.
    parts: HashMap<String, Range<u64>>,
}

impl Release {
    /// Reads an archive, gzipped or not, through once, and copies the files of `task` out of it.
    ///
    /// Of several folders with the task's files the one inside most folders `lra_release` is taken,
    /// as everybody does. Of Pathfinder's images those of `difficulty` are. The copy lies beside
    /// the archive or, where nothing can be written there, in the system's temporary folder.
    ///
    /// `progress` is told now and then how many bytes of how many of the archive were read;
    /// `cancelled` is asked many times a second.
    ///
    /// # Errors
    /// [`DatasetError::BadFile`] for a damaged archive, or one without the task's files;
    /// [`DatasetError::Cancelled`]; [`DatasetError::Io`].
    pub fn read(
        archive: &Path,
        task: Task,
        difficulty: Difficulty,
        progress: &dyn Fn(u64, u64),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, DatasetError> {
        let size = fs::metadata(archive).map_err(DatasetError::io("read", archive))?;
        let copying = || DatasetError::io("copy files out of", archive);
        let beside = archive.parent().filter(|p| !p.as_os_str().is_empty());
        let file = tempfile::tempfile_in(beside.unwrap_or(Path::new(".")));
        let file = file.or_else(|_| tempfile::tempfile()).map_err(copying())?;
        let mut copy = BufWriter::with_capacity(1 << 20, file);
        let mut files: Vec<(String, usize, Range<u64>)> = Vec::new();
        let (end, told) = (Cell::new(0), Cell::new(0));
        let watch = |read| {
            if cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            if read >= told.get() + STEP {
                told.set(read);
                progress(read, size.len());
            }
            Ok(())
        };
        let visited = each_entry(
            archive,
            &watch,
            |name| folder_of(task, difficulty, name).is_some(),
            |name, entry| {
                let start = end.get();
                end.set(start + entry.copy_to(&mut copy)?);
                let folder = folder_of(task, difficulty, name).unwrap_or(0);
                files.push((name.to_owned(), folder, start..end.get()));
                Ok(ControlFlow::Continue(()))
            },
        );
        if cancelled() {
            return Err(DatasetError::Cancelled);
        }
        visited?;
        let file = copy.into_inner();
        let file = file.map_err(|error| copying()(error.into_error()))?;
        let folders = files.iter().map(|(name, folder, _)| &name[..*folder]);
        let depth = |folder: &str| folder.split('/').filter(|f| *f == "lra_release").count();
        // The first of equals.
        let best = folders.rev().max_by_key(|folder| depth(folder));
        let Some(folder) = best.map(str::to_owned) else {
            let name = format!("{task}'s data");
            return Err(DatasetError::bad_file(archive)(FileProblem::Missing {
                name,
            }));
        };
        let parts = files.into_iter().filter_map(|(name, length, range)| {
            let own = name[..length] == folder;
            own.then(|| (name[length..].trim_start_matches('/').to_owned(), range))
        });
        Ok(Self {
            archive: archive.to_owned(),
            parts: parts.collect(),
            folder,
            file: Arc::new(file),
        })
    }

    fn part(&self, name: &str) -> Result<Range<u64>, DatasetError> {
        let part = self.parts.get(name).cloned();
        part.ok_or_else(|| {
            let name = self.path(name).display().to_string();
            DatasetError::bad_file(&self.archive)(FileProblem::Missing { name })
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        inside(&inside(&self.archive, &self.folder), name)
    }
}

/// How much of the path of a file in an archive is the folder that the task's files are below, if
/// it is a file of the task.
fn folder_of(task: Task, difficulty: Difficulty, name: &str) -> Option<usize> {
    let parent = |name: &str| name.rfind('/').unwrap_or(0);
    let is_split = |file_name: fn(Split) -> &'static str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        Split::ALL.into_iter().any(|split| file_name(split) == name)
    };
    match task {
        Task::ListOps => is_split(listops::file_name).then(|| parent(name)),
        Task::Retrieval => is_split(retrieval::file_name).then(|| parent(name)),
        Task::Pathfinder(size) => {
            let folder = image_folder(name)?;
            let is_other = |part: &str| {
                Size::ALL
                    .iter()
                    .any(|other| *other != size && other.folder() == part)
                    || Difficulty::ALL
                        .iter()
                        .any(|other| *other != difficulty && other.folder() == part)
            };
            let below = &name[..folder];
            (!below.split('/').any(is_other)).then_some(folder)
        }
        Task::Text | Task::Image => None,
    }
}

/// How much of a path is the folder with `metadata` and `imgs`.
fn image_folder(name: &str) -> Option<usize> {
    let mut parents = Path::new(name).ancestors().skip(1);
    let is_there = |folder: &Path, name: &str| folder.file_name().is_some_and(|own| own == name);
    let folder = if name.ends_with(".npy") {
        let parent = parents.next()?;
        is_there(parent, folder::METADATA).then(|| parent.parent())?
    } else if name.ends_with(".png") {
        let parent = parents.nth(1)?;
        is_there(parent, folder::IMAGES).then(|| parent.parent())?
    } else {
        let parent = parents.next()?;
        let own = Path::new(name).file_name()?;
        (own == folder::ORIGIN || own == folder::UNFINISHED).then_some(Some(parent))?
    };
    Some(folder?.as_os_str().len())
}

/// The files below a folder, on the disk or in an archive.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    Folder(PathBuf),
    Release(Arc<Release>),
}

impl Files {
    /// The folder; of an archive as [`inside`] has it.
    pub fn place(&self) -> PathBuf {
        match self {
            Files::Folder(folder) => folder.clone(),
            Files::Release(release) => inside(&release.archive, &release.folder),
        }
    }

    /// A file's path, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Files::Folder(folder) => folder.join(name),
            Files::Release(release) => release.path(name),
        }
    }

    pub fn holds(&self, name: &str) -> bool {
        match self {
            Files::Folder(folder) => folder.join(name).exists(),
            Files::Release(release) => release.parts.contains_key(name),
        }
    }

    pub fn length(&self, name: &str) -> Result<u64, DatasetError> {
        match self {
            Files::Folder(folder) => {
                let path = folder.join(name);
                let file = fs::metadata(&path).map_err(DatasetError::io("read", &path))?;
                Ok(file.len())
            }
            Files::Release(release) => release.part(name).map(|part| part.end - part.start),
        }
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>, DatasetError> {
        let path = self.path(name);
        match self {
            Files::Folder(_) => fs::read(&path),
            Files::Release(release) => {
                let part = release.part(name)?;
                let mut bytes = vec![0; (part.end - part.start) as usize];
                read_at(&release.file, &mut bytes, part.start).map(|()| bytes)
            }
        }
        .map_err(DatasetError::io("read", &path))
    }

    /// A file to read from, some of it at a time.
    pub fn section(&self, name: &str) -> Result<Section, DatasetError> {
        match self {
            Files::Folder(folder) => {
                let path = folder.join(name);
                let file = File::open(&path).map_err(DatasetError::io("open", &path))?;
                let length = file.metadata().map_err(DatasetError::io("read", &path))?;
                Ok(Section::new(Arc::new(file), 0..length.len()))
            }
            Files::Release(release) => Ok(Section::new(release.file.clone(), release.part(name)?)),
        }
    }

    /// The names of the files directly in a folder below this one.
    pub fn names_in(&self, folder: &str) -> Result<Vec<String>, DatasetError> {
        match self {
            Files::Folder(root) => {
                let path = root.join(folder);
                let entries = fs::read_dir(&path).map_err(DatasetError::io("read", &path))?;
                let name = |entry: io::Result<fs::DirEntry>| {
                    let name = entry.map_err(DatasetError::io("read", &path))?.file_name();
                    Ok(name.to_string_lossy().into_owned())
                };
                entries.map(name).collect()
            }
            Files::Release(release) => {
                let below = |name: &String| {
                    let rest = name.strip_prefix(folder)?.strip_prefix('/')?;
                    (!rest.contains('/')).then(|| rest.to_owned())
                };
                Ok(release.parts.keys().filter_map(below).collect())
            }
        }
    }
}

/// Where a task's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Folder(PathBuf),
    Archive(PathBuf),
}

impl Source {
    /// The first of the folders that holds any of the files, else the archive that `dir` names.
    pub fn find(dir: &Path, places: Vec<PathBuf>, holds: impl Fn(&Path) -> bool) -> Option<Source> {
        let folder = places.into_iter().find(|place| holds(place));
        let archive = || find(dir).map(Source::Archive);
        folder.map(Source::Folder).or_else(archive)
    }

    /// Whether there is a file of a name. What is in an archive, nobody knows before it is read.
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Source::Folder(folder) => folder.join(name).is_file(),
            Source::Archive(_) => true,
        }
    }

    /// What is read to have the file of a name.
    pub fn file(&self, name: &str) -> PathBuf {
        match self {
            Source::Folder(folder) => folder.join(name),
            Source::Archive(path) => path.clone(),
        }
    }

    /// The files; those of an archive are copied out of it, with nobody watching.
    pub fn files(self, task: Task, difficulty: Difficulty) -> Result<Files, DatasetError> {
        Ok(match self {
            Source::Folder(folder) => Files::Folder(folder),
            Source::Archive(path) => {
                let release = Release::read(&path, task, difficulty, &|_, _| {}, &|| false)?;
                Files::Release(Arc::new(release))
            }
        })
    }
}
