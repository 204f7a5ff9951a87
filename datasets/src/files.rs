//! Where a task's files are: below a folder, or in an archive.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::check::Task;
use crate::pathfinder::Difficulty;
use crate::read_at::{Section, read_at};
use crate::release::{self, Release};
use crate::{DatasetError, Split};

/// The files below a folder, on the disk or in an archive.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    Folder(PathBuf),
    Release(Arc<Release>),
}

impl Files {
    /// The folder; in an archive, its path follows the archive's.
    pub fn place(&self) -> PathBuf {
        match self {
            Files::Folder(folder) => folder.clone(),
            Files::Release(release) => release.place(),
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
            Files::Release(release) => release.part(name).is_ok(),
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
                read_at(release.file(), &mut bytes, part.start).map(|()| bytes)
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
            Files::Release(release) => {
                Ok(Section::new(release.file().clone(), release.part(name)?))
            }
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
                Ok(release.names().filter_map(below).collect())
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
    /// Of the folders that hold any of the files the first, else the archive that `dir` names; the
    /// archive, too, where the folder does not hold `all` of them.
    pub fn find(
        dir: &Path,
        places: Vec<PathBuf>,
        any: impl Fn(&Path) -> bool,
        all: impl Fn(&Path) -> bool,
    ) -> Option<Source> {
        let folder = places.into_iter().find(|place| any(place));
        match folder {
            Some(folder) if all(&folder) => Some(Source::Folder(folder)),
            folder => {
                let archive = release::find(dir).map(Source::Archive);
                archive.or(folder.map(Source::Folder))
            }
        }
    }

    /// The same of a task with a file for each split.
    pub fn of_splits(
        dir: &Path,
        places: Vec<PathBuf>,
        file_name: fn(Split) -> &'static str,
    ) -> Option<Source> {
        let is_there = |place: &Path, split| place.join(file_name(split)).is_file();
        Self::find(
            dir,
            places,
            |place| Split::ALL.into_iter().any(|split| is_there(place, split)),
            |place| Split::ALL.into_iter().all(|split| is_there(place, split)),
        )
    }

    /// Whether there is a file of a name. What is in an archive, nobody knows before it is read.
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Source::Folder(folder) => folder.join(name).is_file(),
            Source::Archive(_) => true,
        }
    }

    /// Whether there is a file for each split.
    pub fn holds_splits(&self, file_name: fn(Split) -> &'static str) -> bool {
        let mut splits = Split::ALL.into_iter();
        splits.all(|split| self.holds(file_name(split)))
    }

    /// What is read to have the file of a name.
    pub fn file(&self, name: &str) -> PathBuf {
        match self {
            Source::Folder(folder) => folder.join(name),
            Source::Archive(path) => path.clone(),
        }
    }

    /// The files; those of an archive are copied to a temporary file beside it, with nobody
    /// watching.
    pub fn files(self, task: Task, difficulty: Difficulty) -> Result<Files, DatasetError> {
        Ok(match self {
            Source::Folder(folder) => Files::Folder(folder),
            Source::Archive(path) => {
                let near = path.parent().unwrap_or(Path::new("."));
                let release = Release::read(&path, task, difficulty, near, &|_, _| {}, &|| false)?;
                Files::Release(Arc::new(release))
            }
        })
    }
}
