//! All files below a folder, in parallel.

use std::fs::{self, DirEntry, Metadata};
use std::path::Path;

use rayon::prelude::*;

use crate::DatasetError;

/// What `of` says of each file below a folder, in the order of their paths. Links are followed; there
/// is no metadata of one that leads nowhere.
pub(crate) fn files_below<T: Send>(
    folder: &Path,
    of: &(impl Fn(&Path, Option<Metadata>) -> T + Sync),
) -> Result<Vec<T>, DatasetError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = entries.map_err(DatasetError::io("read", folder))?;
    entries.sort_by_cached_key(DirEntry::file_name);
    let each = |entry: &DirEntry| {
        let path = entry.path();
        let kind = entry.file_type().map_err(DatasetError::io("read", &path))?;
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            return files_below(&path, of);
        }
        // An entry's own is cheaper, where it is no link.
        let metadata = match kind.is_symlink() {
            true => fs::metadata(&path).ok(),
            false => Some(entry.metadata().map_err(DatasetError::io("read", &path))?),
        };
        Ok(vec![of(&path, metadata)])
    };
    let files = entries.par_iter().map(each);
    let files = files.collect::<Result<Vec<_>, _>>()?;
    Ok(files.into_iter().flatten().collect())
}
