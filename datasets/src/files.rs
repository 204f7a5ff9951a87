//! Where a task's files are: below a folder, or in an archive.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::{copy_all, is_archive, start_of};
use crate::gzip::{self, Gunzip};
use crate::problem::FileProblem;
use crate::read_at::{Section, read_at};
use crate::release::{self, Release, Wanted};
use crate::side::is_side;
use crate::{DatasetError, Split, foreign};

/// The files below a folder, on the disk or in an archive.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    Folder(PathBuf),
    Release(Arc<Release>),
}

impl Files {
    /// The files of an archive that was read before.
    pub fn of(release: &Arc<Release>) -> Result<Self, DatasetError> {
        release.is_unchanged()?;
        Ok(Files::Release(release.clone()))
    }

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

    /// How many bytes a file has; `None` where there is none.
    pub fn length(&self, name: &str) -> Result<Option<u64>, DatasetError> {
        match self {
            Files::Folder(folder) => {
                let path = folder.join(name);
                match fs::metadata(&path) {
                    Ok(file) => Ok(Some(file.len())),
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(cause) => Err(DatasetError::io("read", &path)(cause)),
                }
            }
            Files::Release(release) => {
                let part = release.part(name).ok();
                Ok(part.map(|part| part.end - part.start))
            }
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

    /// A file to read from, some of it at a time, and its path. One that is gzipped in a folder is
    /// copied to a temporary file.
    pub fn section(&self, name: &str) -> Result<(PathBuf, Section), DatasetError> {
        let (path, file) = match self {
            Files::Folder(folder) => {
                let path = lying(folder, name).unwrap_or_else(|| folder.join(name));
                let file = File::open(&path).map_err(DatasetError::io("open", &path))?;
                if is_gzip(&path) {
                    let file = unzipped(file, &path, folder)?;
                    (path, file)
                } else {
                    (path, file)
                }
            }
            Files::Release(release) => {
                let section = Section::new(release.file().clone(), release.part(name)?);
                return Ok((self.path(name), section));
            }
        };
        let length = file.metadata().map_err(DatasetError::io("read", &path))?;
        let section = Section::new(Arc::new(file), 0..length.len());
        Ok((path, section))
    }

    /// The names of the files directly in a folder below this one, but for side files and names that
    /// are no text, which none of ours are.
    pub fn names_in(&self, folder: &str) -> Result<Vec<String>, DatasetError> {
        match self {
            Files::Folder(root) => {
                let path = root.join(folder);
                let entries = fs::read_dir(&path).map_err(DatasetError::io("read", &path))?;
                let mut names = Vec::new();
                for entry in entries {
                    let name = entry.map_err(DatasetError::io("read", &path))?.file_name();
                    names.extend(name.into_string().ok().filter(|name| !is_side(name)));
                }
                Ok(names)
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

/// A path itself, and places below it where a task's files may lie, the likelier first.
pub(crate) fn places(dir: &Path, below: &[&str]) -> Vec<PathBuf> {
    let below = below.iter().map(|name| dir.join(name));
    std::iter::once(dir.to_owned()).chain(below).collect()
}

/// Where a file of a folder is: under its name, or gzipped.
fn lying(folder: &Path, name: &str) -> Option<PathBuf> {
    let paths = [folder.join(name), folder.join(format!("{name}.gz"))];
    paths.into_iter().find(|path| path.is_file())
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gz")
}

/// The contents of a gzipped file, in a temporary one.
fn unzipped(mut file: File, path: &Path, near: &Path) -> Result<File, DatasetError> {
    let start = start_of(&mut file).map_err(DatasetError::io("read", path))?;
    if !start.starts_with(&gzip::MAGIC) {
        let found = foreign::described(&start);
        return Err(DatasetError::bad_file(path)(FileProblem::NotArchive(found)));
    }
    file.rewind().map_err(DatasetError::io("read", path))?;
    let (mut copy, into) = release::temporary(near)?;
    let mut contents = Gunzip::new(BufReader::with_capacity(1 << 18, file));
    copy_all(&mut contents, path, &mut copy, &into)?;
    Ok(copy)
}

/// An error that says which of a task's files, one a split, are in a folder and which are not;
/// `None` where all are, or none.
pub(crate) fn incomplete(
    folder: &Path,
    file_name: fn(Split) -> &'static str,
    advice: &'static str,
) -> Option<DatasetError> {
    let names = Split::ALL.map(file_name).into_iter();
    let (there, missing): (Vec<_>, Vec<_>) = names.partition(|name| lying(folder, name).is_some());
    (!there.is_empty() && !missing.is_empty()).then(|| DatasetError::Incomplete {
        dir: folder.to_owned(),
        there,
        missing,
        advice,
    })
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
        let is_there = |place: &Path, split| lying(place, file_name(split)).is_some();
        Self::find(
            dir,
            places,
            |place| Split::ALL.into_iter().any(|split| is_there(place, split)),
            |place| Split::ALL.into_iter().all(|split| is_there(place, split)),
        )
    }

    /// Whether there is a file of a name. What is in an archive is not known before it is read.
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Source::Folder(folder) => lying(folder, name).is_some(),
            Source::Archive(_) => true,
        }
    }

    /// Whether there is a file for each split.
    pub fn holds_splits(&self, file_name: fn(Split) -> &'static str) -> bool {
        let mut splits = Split::ALL.into_iter();
        splits.all(|split| self.holds(file_name(split)))
    }

    /// This source, unless it is a folder that lacks a file of which `incomplete` knows more.
    pub fn with(
        self,
        name: &str,
        incomplete: fn(&Path) -> Option<DatasetError>,
    ) -> Result<Source, DatasetError> {
        let error = match &self {
            Source::Folder(folder) if !self.holds(name) => incomplete(folder),
            _ => None,
        };
        error.map_or(Ok(self), Err)
    }

    /// The folder or archive.
    pub fn path(&self) -> &Path {
        match self {
            Source::Folder(path) | Source::Archive(path) => path,
        }
    }

    /// Of these places the first that is an archive, or a folder with the task's files.
    pub fn first(places: Vec<PathBuf>, is_there: impl Fn(&Path) -> bool) -> Option<Source> {
        places
            .into_iter()
            .find_map(|place| match is_archive(&place) {
                true => Some(Source::Archive(place)),
                false => is_there(&place).then_some(Source::Folder(place)),
            })
    }

    /// What is read to have the file of a name.
    pub fn file(&self, name: &str) -> PathBuf {
        match self {
            Source::Folder(folder) => lying(folder, name).unwrap_or_else(|| folder.join(name)),
            Source::Archive(path) => path.clone(),
        }
    }

    /// The files; those of an archive that are `wanted` are copied to a temporary file beside it,
    /// without reports of progress.
    pub fn files(self, wanted: &Wanted) -> Result<Files, DatasetError> {
        Ok(match self {
            Source::Folder(folder) => Files::Folder(folder),
            Source::Archive(path) => Files::Release(Release::read_all(&path, wanted)?),
        })
    }
}
