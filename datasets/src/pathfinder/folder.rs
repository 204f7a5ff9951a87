//! Where Pathfinder's files lie, published or generated.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Difficulty, Size};
use crate::DatasetError;

/// The folder of the metadata files, one a batch of images.
pub(crate) const METADATA: &str = "metadata";
/// The folder of the images.
pub(crate) const IMAGES: &str = "imgs";
/// Says where generated images came from, once they are complete.
pub(crate) const ORIGIN: &str = "generated.json";
/// The same while they are not.
pub(crate) const UNFINISHED: &str = "generating.json";

/// The folders in which the images may lie, the likelier first: `dir` itself, or an unpacked
/// `lra_release`, of whose doubled folders everybody uses the inner one.
pub fn places(dir: &Path, size: Size, difficulty: Difficulty) -> Vec<PathBuf> {
    let (task, folder) = (size.folder(), difficulty.folder());
    vec![
        dir.to_owned(),
        dir.join(folder),
        dir.join("lra_release/lra_release").join(task).join(folder),
        dir.join("lra_release").join(task).join(folder),
        // Last: where `dir` is the outer `lra_release`, this is the other copy.
        dir.join(task).join(folder),
    ]
}

/// Whether the images can be opened from `dir` and are complete.
pub fn is_prepared(dir: &Path, size: Size, difficulty: Difficulty) -> bool {
    find(dir, size, difficulty).is_some_and(|place| !place.join(UNFINISHED).exists())
}

/// The first place with images.
pub(crate) fn find(dir: &Path, size: Size, difficulty: Difficulty) -> Option<PathBuf> {
    let mut places = places(dir, size, difficulty).into_iter();
    places.find(|place| place.join(METADATA).is_dir())
}

/// The metadata files of a folder by the integers they are named after, in that order.
///
/// # Errors
/// If the file system refuses. Files of other names are passed over.
pub(crate) fn metadata_files(place: &Path) -> Result<Vec<(u32, PathBuf)>, DatasetError> {
    let folder = place.join(METADATA);
    let entries = fs::read_dir(&folder).map_err(DatasetError::io("read", &folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(DatasetError::io("read", &folder))?.path();
        let is_npy = path.extension().is_some_and(|extension| extension == "npy");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.filter(|_| is_npy).and_then(|stem| stem.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files)
}
