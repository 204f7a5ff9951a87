//! Unpacking a folder of an archive.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::DatasetError;
use crate::archive::each_entry;
use crate::atomic::{Unfinished, folder_of, remove_abandoned};
use crate::names::within;
use crate::problem::FileProblem;

/// Unpacks the files of an archive whose path has a folder of the given name, such as `tsv_data` in
/// `lra_release.gz`, below `dir`, under their paths in the archive. How many files.
///
/// Each file appears when it is complete; files that are there with the right size are kept.
/// `progress` is told how many bytes of the archive were read; `cancelled` is asked many times a
/// second.
///
/// # Errors
/// [`DatasetError::BadFile`] for a damaged archive, or one without such files,
/// [`DatasetError::Stopped`], [`DatasetError::Io`].
pub fn unpack(
    archive: &Path,
    folder: &str,
    dir: &Path,
    progress: &dyn Fn(u64),
    cancelled: &dyn Fn() -> bool,
) -> Result<usize, DatasetError> {
    let files = Cell::new(0);
    let mut parents = HashSet::new();
    let watch = |read| {
        progress(read);
        match cancelled() {
            true => Err(io::Error::other("cancelled")),
            false => Ok(()),
        }
    };
    let wanted = |name: &str| name.rsplit('/').skip(1).any(|part| part == folder);
    let visited = each_entry(archive, &watch, wanted, |name, entry| {
        let Some(path) = within(name).map(|name| dir.join(name)) else {
            let cause = format!("{name} leads out of the folder");
            return Err(DatasetError::bad_file(archive)(FileProblem::Archive(cause)));
        };
        files.set(files.get() + 1);
        if fs::metadata(&path).is_ok_and(|file| file.len() == entry.size) {
            return Ok(ControlFlow::Continue(()));
        }
        let parent = folder_of(&path);
        if parents.insert(parent.to_owned()) {
            fs::create_dir_all(parent).map_err(DatasetError::io("create", parent))?;
            remove_abandoned(parent);
        }
        let mut file = Unfinished::new(&path).map_err(DatasetError::io("create", &path))?;
        entry.copy_to(file.file(), parent)?;
        file.finish(&path)
            .map_err(DatasetError::io("write", &path))?;
        Ok(ControlFlow::Continue(()))
    });
    if cancelled() {
        return Err(DatasetError::Stopped(dir.to_owned()));
    }
    visited?;
    if files.get() == 0 {
        let name = format!("{folder}/");
        return Err(DatasetError::bad_file(archive)(FileProblem::Missing(name)));
    }
    Ok(files.get())
}
