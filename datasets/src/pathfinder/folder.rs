//! Where Pathfinder's files lie, published or generated.

use std::path::{Path, PathBuf};

use super::{Difficulty, Size};
use crate::DatasetError;
use crate::files::{Files, Source};

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

/// Whether the images can be opened from `dir` and are complete. What is in an archive, nobody
/// knows before it is read.
pub fn is_prepared(dir: &Path, size: Size, difficulty: Difficulty) -> bool {
    match source(dir, size, difficulty) {
        Some(Source::Folder(place)) => !place.join(UNFINISHED).exists(),
        Some(Source::Archive(_)) => true,
        None => false,
    }
}

/// The first place with images, else the published archive.
pub(crate) fn source(dir: &Path, size: Size, difficulty: Difficulty) -> Option<Source> {
    let is_there = |place: &Path| place.join(METADATA).is_dir();
    Source::find(dir, places(dir, size, difficulty), is_there, is_there)
}

/// The metadata files by the integers they are named after, in that order, as paths from the
/// folder.
///
/// # Errors
/// If the file system refuses. Files of other names are passed over.
pub(crate) fn metadata_files(files: &Files) -> Result<Vec<(u32, String)>, DatasetError> {
    let number = |name: &String| name.strip_suffix(".npy")?.parse::<u32>().ok();
    let names = files.names_in(METADATA)?.into_iter();
    let mut numbered: Vec<(u32, String)> = names
        .filter_map(|name| Some((number(&name)?, format!("{METADATA}/{name}"))))
        .collect();
    numbered.sort();
    Ok(numbered)
}
