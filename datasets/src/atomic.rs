//! Files that appear complete or not at all.
//!
//! The recipe is the usual one: write under a hidden name in the same folder, flush it to the disk,
//! rename it (which replaces an old file in one step), and flush the folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// What the names of unfinished files and folders begin with.
pub const UNFINISHED: &str = ".unfinished-";

/// What the name of an unfinished file or folder begins with that is to be called `path`.
pub fn hidden_prefix(path: &Path) -> String {
    // File systems take names of 255 bytes, and a character has up to four.
    const LONGEST: usize = 40;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(LONGEST).collect();
    format!("{UNFINISHED}{name}-")
}

/// Writes a file so that it is either the old one or the new one, whenever the process dies.
///
/// # Errors
/// The system's; the old file is then untouched.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Unfinished::new(path)?;
    file.file().write_all(bytes)?;
    file.finish(path)
}

/// A file under a hidden name: locked while it is open, and removed again unless it is finished.
#[derive(Debug)]
pub struct Unfinished(NamedTempFile);

impl Unfinished {
    /// An empty file in the folder of `path`.
    ///
    /// # Errors
    /// The system's.
    pub fn new(path: &Path) -> io::Result<Self> {
        loop {
            // By the standard library's own call: who may read the file is the user's choice (umask).
            let file = Builder::new()
                .prefix(&hidden_prefix(path))
                .make_in(folder_of(path), |path| File::create_new(path))?;
            // Where a file system has no locks, what a kill leaves stays.
            let _ = file.as_file().lock();
            // Before it was locked, another process may have taken it for abandoned.
            if file.path().exists() {
                return Ok(Self(file));
            }
        }
    }

    /// The file, to be written to.
    pub fn file(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    /// The system's; an old file of that name is then untouched.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        self.0.as_file().sync_all()?;
        self.0.persist(path).map_err(|error| error.error)?;
        sync_folder(folder_of(path));
        Ok(())
    }
}

/// Removes the unfinished files that killed processes left in a folder: nobody holds a lock on them
/// any more.
pub fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(UNFINISHED)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // Still locked: see `Unfinished::new`.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The folder that holds `path`: `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes renames in a folder outlast a power cut, where the platform can.
pub fn sync_folder(folder: &Path) {
    // A folder can't be opened everywhere, and the files themselves are safe without this.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Locks an open file until it is closed, also by a kill; whether no other process holds the lock.
///
/// # Errors
/// The system's.
pub fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        // Some network file systems have no locks: there, no process can tell.
        Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// A file that stands for a lock, or `None` where another process holds it.
///
/// # Errors
/// The system's.
pub fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    Ok(lock(&file)?.then_some(file))
}
