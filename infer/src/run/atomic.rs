//! Files and folders that appear complete or not at all.
//!
//! The recipe is the usual one: write under a temporary name in the same folder, flush it to the
//! disk, rename it (which replaces the old file in one step), and flush the folder.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::RunError;

/// What the names of unfinished files and folders begin with. They are left behind by a process
/// that was killed, and may be removed when nobody writes there.
const UNFINISHED: &str = ".unfinished-";

/// Characters, of up to four bytes, that a temporary name has of the final one.
const LONGEST: usize = 40;

/// Writes a file so that it is either the old one or the new one, whenever the process dies.
///
/// # Errors
///
/// The system's error with the path; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let temporary = Unfinished::beside(path);
    let write = || {
        let mut file = File::create(&temporary.path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(RunError::io("write", path))?;
    temporary.rename_to(path)
}

/// A temporary path that is removed again unless it was renamed.
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// A fresh temporary name in the folder of `path`.
    pub(super) fn beside(path: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // File systems take names of 255 bytes. The number makes this one different from all others.
        let name: String = name.chars().take(LONGEST).collect();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{UNFINISHED}{name}-{}-{count}", std::process::id());
        Self {
            path: folder_of(path).join(temporary),
            finished: false,
        }
    }

    /// Gives the finished file or folder its real name.
    pub(super) fn rename_to(mut self, path: &Path) -> Result<(), RunError> {
        fs::rename(&self.path, path).map_err(RunError::io("rename a finished file to", path))?;
        self.finished = true;
        sync_folder(folder_of(path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            remove(&self.path);
        }
    }
}

/// The folder that holds `path`: `.` for a bare name.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable. Only Unix has (and needs) this.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RunError> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(RunError::io("flush", folder))?;
    }
    Ok(())
}

/// Flushes every file below a folder, and the folders, to the disk.
pub(super) fn sync_tree(folder: &Path) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(RunError::io("list", folder))? {
        let path = entry.map_err(RunError::io("list", folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            // Windows flushes only through a handle that may write.
            File::options()
                .read(true)
                .write(cfg!(windows))
                .open(&path)
                .and_then(|file| file.sync_all())
                .map_err(RunError::io("flush", &path))?;
        }
    }
    sync_folder(folder)
}

/// Removes what a killed process has left unfinished in a folder.
pub(super) fn remove_unfinished(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            remove(&entry.path());
        }
    }
}

/// Removes a file or folder where possible: what stays is only litter.
pub(super) fn remove(path: &Path) {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    // On a disk that can't be written to there may be nothing to remove.
    if let Err(error) = removed
        && path.symlink_metadata().is_ok()
    {
        tracing::warn!("could not remove {}: {error}", path.display());
    }
}
