//! What is at a path where data could be generated.

use std::fs;
use std::io;
use std::path::Path;

use crate::DatasetError;
use crate::side::is_side;

/// What is at a path where data could be generated.
#[derive(Debug)]
pub enum State {
    /// All of the task's files, or an archive, whose files are not known before it is read.
    Complete,
    /// Some of the task's files, but not all: the error says which, and what to do.
    Partial(DatasetError),
    /// Data whose generation was interrupted: the same command continues it.
    Unfinished,
    /// A folder with nothing in it but hidden and side files, what a killed generator left among
    /// them, packed samples, and folders of the same kind.
    Empty,
    /// Nothing at all.
    Absent,
    /// A file, or a folder with other things: another path was meant, perhaps.
    Other,
}

impl State {
    /// The state of a path without any of the task's files; folders of these names are passed over.
    pub(crate) fn without_data(path: &Path, passed_over: &[&str]) -> Result<State, DatasetError> {
        match path.symlink_metadata() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(State::Absent),
            Err(cause) => Err(DatasetError::io("read", path)(cause)),
            Ok(_) if path.is_dir() && is_bare(path, passed_over)? => Ok(State::Empty),
            Ok(_) => Ok(State::Other),
        }
    }
}

/// Whether a folder holds nothing of value.
pub(crate) fn is_bare(folder: &Path, passed_over: &[&str]) -> Result<bool, DatasetError> {
    for entry in fs::read_dir(folder).map_err(DatasetError::io("read", folder))? {
        let entry = entry.map_err(DatasetError::io("read", folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_nothing = name.starts_with('.')
            || is_side(&name)
            || name.ends_with(".samples")
            || passed_over.contains(&name.as_ref());
        let kind = entry.file_type().map_err(DatasetError::io("read", &path))?;
        if is_nothing || kind.is_dir() && is_bare(&path, &[])? {
            continue;
        }
        return Ok(false);
    }
    Ok(true)
}
