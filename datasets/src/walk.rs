//! All files below a folder, in parallel.

use std::fs;
use std::path::Path;

use rayon::prelude::*;

use crate::DatasetError;

/// What `of` says of each file below a folder, in the order of their paths. Links are followed.
pub(crate) fn files_below<T: Send>(
    folder: &Path,
    of: &(impl Fn(&Path) -> Result<T, DatasetError> + Sync),
) -> Result<Vec<T>, DatasetError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = entries.map_err(DatasetError::io("read", folder))?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    let each = |entry: &fs::DirEntry| {
        let path = entry.path();
        let kind = entry.file_type().map_err(DatasetError::io("read", &path))?;
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            files_below(&path, of)
        } else {
            Ok(vec![of(&path)?])
        }
    };
    let files = entries.par_iter().map(each);
    Ok(files
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}
