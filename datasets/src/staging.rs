//! Files that appear under their final names all at once, complete, or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::DatasetError;
use crate::atomic::{folder_of, lock_file, sync_folder};
use crate::names::affixed;

/// A hidden folder in which a set of files is prepared for its final folder.
///
/// Where the final folder doesn't exist, the hidden one lies beside it and becomes it by one
/// rename, so that even a killed process leaves all files or none. Where the folder exists (a
/// mounted volume, say), the hidden one lies inside, on the same file system, and the complete
/// files are renamed one by one.
///
/// Dropping it before [`publish`](Staging::publish) removes every trace. What a killed process
/// left behind in the hidden folder is overwritten by the next one.
pub(crate) struct Staging {
    target: PathBuf,
    folder: PathBuf,
    inside: bool,
    /// Parents of the folder that were made for it, the deepest first.
    made: Vec<PathBuf>,
    lock: Option<Lock>,
}

/// A lock file beside data in the making, which is removed when it is not held any more.
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock of the data in `dir`.
    ///
    /// # Errors
    /// If another process holds it, or if the file system refuses.
    pub(crate) fn take(path: PathBuf, dir: &Path) -> Result<Self, DatasetError> {
        let file = lock_file(&path).map_err(DatasetError::io("create", &path))?;
        match file {
            Some(file) => Ok(Self { path, _file: file }),
            None => Err(DatasetError::Busy {
                dir: dir.to_owned(),
                lock: path,
            }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Staging {
    /// Prepares to write `names` into `target`.
    ///
    /// # Errors
    /// If one of `names` exists in `target`, if another process prepares files for `target`, or
    /// if the file system refuses.
    pub(crate) fn new(target: &Path, names: &[&str]) -> Result<Self, DatasetError> {
        let inside = target.is_dir();
        if !inside && target.symlink_metadata().is_ok() {
            return Err(DatasetError::Exists(target.to_owned()));
        }
        let beside = target.parent().zip(target.file_name());
        let beside = beside.filter(|_| !inside);
        let parent = beside.map_or(target, |(parent, _)| parent);
        let hidden = |after: &str| match beside {
            Some((_, name)) => parent.join(affixed(".", name, &format!("-{after}"))),
            None => parent.join(format!(".{after}")),
        };
        let inside = parent == target;
        let made = missing(parent);
        fs::create_dir_all(or_here(parent)).map_err(DatasetError::io("create", parent))?;

        let lock = Lock::take(hidden("generating.lock"), target);
        let lock = lock.inspect_err(|_| remove_empty(&made))?;
        let staging = Self {
            target: target.to_owned(),
            folder: hidden("generating"),
            inside,
            made,
            lock: Some(lock),
        };
        // Only now, under the lock: the process that held it may have just published.
        staging.refuse_existing(names)?;
        remove_folder(&staging.folder)?;
        fs::create_dir(&staging.folder).map_err(DatasetError::io("create", &staging.folder))?;
        Ok(staging)
    }

    /// Creates a file under its final name in the hidden folder.
    pub(crate) fn create(&self, name: &str) -> Result<File, DatasetError> {
        let path = self.folder.join(name);
        File::create_new(&path).map_err(DatasetError::io("create", &path))
    }

    /// Where `name` will be, for messages.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// Moves the files to their final names. They have to be on the disk by now (fsync).
    ///
    /// # Errors
    /// If the file system refuses, or if a file of that name has appeared in the meantime.
    pub(crate) fn publish(mut self, names: &[&str]) -> Result<(), DatasetError> {
        self.refuse_existing(names)?;
        if self.inside {
            for (done, name) in names.iter().enumerate() {
                let (from, to) = (self.folder.join(name), self.target(name));
                if let Err(cause) = fs::rename(from, &to) {
                    for name in &names[..done] {
                        let _ = fs::remove_file(self.target(name));
                    }
                    return Err(DatasetError::io("create", &to)(cause));
                }
            }
        } else {
            sync_folder(&self.folder);
            fs::rename(&self.folder, &self.target)
                .map_err(DatasetError::io("create", &self.target))?;
        }
        sync_folder(&self.target);
        sync_folder(folder_of(&self.target));
        self.made.clear();
        Ok(())
    }

    fn refuse_existing(&self, names: &[&str]) -> Result<(), DatasetError> {
        let mut paths = names.iter().map(|name| self.target(name));
        match paths.find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(DatasetError::Exists(path)),
            None => Ok(()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing can be done here about a failure; the next process clears up again.
        let _ = remove_folder(&self.folder);
        self.lock = None;
        remove_empty(&self.made);
    }
}

/// The parents that do not exist yet, the deepest first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    let parents = folder
        .ancestors()
        .take_while(|path| !or_here(path).exists());
    parents.map(Path::to_owned).collect()
}

fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        // A folder in which another process has put something stays.
        let _ = fs::remove_dir(folder);
    }
}

fn remove_folder(folder: &Path) -> Result<(), DatasetError> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(DatasetError::io("remove", folder)(cause))
        }
        _ => Ok(()),
    }
}

/// The parent of a bare name is the empty path, which stands for the current folder.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}
