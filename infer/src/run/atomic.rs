//! Folders that appear complete or not at all. The files in a run are
//! [`transformer_ls_datasets::atomic`]'s.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::Builder;
use transformer_ls_datasets::atomic::{self, UNFINISHED, folder_of, hidden_prefix, sync_folder};

use super::RunError;

/// Writes a file so that it is either the old one or the new one, whenever the process dies.
///
/// # Errors
///
/// The system's error with the path; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    atomic::write(path, bytes).map_err(RunError::io("write", path))
}

/// A folder under a hidden name, which is removed again unless it was renamed.
pub(super) struct UnfinishedFolder {
    pub(super) path: PathBuf,
}

impl UnfinishedFolder {
    /// An empty folder beside `path`.
    pub(super) fn beside(path: &Path) -> Result<Self, RunError> {
        let made = Builder::new()
            .prefix(&hidden_prefix(path))
            .make_in(folder_of(path), |path| fs::create_dir(path));
        let kept = made.and_then(|folder| folder.keep().map_err(|error| error.error));
        let ((), path) = kept.map_err(RunError::io("create the folder", path))?;
        Ok(Self { path })
    }

    /// Gives the finished folder its real name.
    pub(super) fn rename_to(self, path: &Path) -> Result<(), RunError> {
        fs::rename(&self.path, path).map_err(RunError::io("rename a finished folder to", path))?;
        sync_folder(folder_of(path));
        Ok(())
    }
}

impl Drop for UnfinishedFolder {
    fn drop(&mut self) {
        // A rest that stays does no harm.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes a folder that counts as whole: under a hidden name first, so that half of it is never taken
/// for all.
pub(super) fn remove_whole(folder: &Path) -> Result<(), RunError> {
    let aside = UnfinishedFolder::beside(folder)?;
    fs::rename(folder, aside.path.join("old")).map_err(RunError::io("move aside", folder))
}

/// Flushes every file below a folder, and the folders, to the disk.
pub(super) fn sync_tree(folder: &Path) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(RunError::io("list", folder))? {
        let path = entry.map_err(RunError::io("list", folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            // Windows flushes only through a handle that may write.
            let file = File::options().read(true).write(cfg!(windows)).open(&path);
            file.and_then(|file| file.sync_all())
                .map_err(RunError::io("flush", &path))?;
        }
    }
    sync_folder(folder);
    Ok(())
}

/// Removes what a killed process has left unfinished in a folder where no other process writes.
pub(super) fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let path = entry.path();
            let _: io::Result<()> = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}
