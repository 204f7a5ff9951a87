//! Where Pathfinder's files lie, published or generated.

use std::path::{Path, PathBuf};

use super::{Difficulty, Size};
use crate::DatasetError;
use crate::files::{Files, Source};
use crate::printable::shown;
use crate::problem::FileProblem;
use crate::release::{Copy, Member, MemberFile, Wanted};
use crate::state::{self, State};

/// The folder of the metadata files, one a batch of images.
pub(crate) const METADATA: &str = "metadata";
/// The folder of the images.
pub(crate) const IMAGES: &str = "imgs";
/// Says where generated images came from, once they are complete.
pub(crate) const ORIGIN: &str = "generated.json";
/// The same while they are not.
pub(crate) const UNFINISHED: &str = "generating.json";

/// The folders in which the images may lie, the likelier first: `dir` itself, or an unpacked
/// `lra_release`, of whose doubled folders the inner one is the one in use.
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

/// Whether the images can be opened from `dir` and are complete. What is in an archive is
/// not known before it is read.
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

/// The files of a source.
pub(crate) fn files(
    source: Source,
    size: Size,
    difficulty: Difficulty,
) -> Result<Files, DatasetError> {
    source.files(&Wanted {
        task: size.task(),
        member: &|path| member(size, difficulty, path),
    })
}

/// What a file in an archive is to the images of a size and difficulty.
pub(crate) fn member(size: Size, difficulty: Difficulty, path: &str) -> Member<'_> {
    let (parent, file_name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(folder) = image_folder(parent, file_name) else {
        return Member::No;
    };
    let is = |own: &'static str| folder.split('/').any(|part| part == own);
    let mut sizes = Size::ALL.into_iter();
    if sizes.any(|other| other != size && is(other.folder())) {
        return Member::No;
    }
    let mut difficulties = Difficulty::ALL.into_iter();
    match difficulties.find(|other| *other != difficulty && is(other.folder())) {
        Some(found) => Member::Other(FileProblem::Difficulty {
            found,
            wanted: difficulty,
        }),
        None => Member::Of(MemberFile {
            folder,
            name: path[folder.len()..].trim_start_matches('/'),
            is_sign: file_name.ends_with(".npy"),
        }),
    }
}

/// The folder with `metadata` and `imgs` that a file is below.
fn image_folder<'a>(parent: &'a str, file_name: &str) -> Option<&'a str> {
    /// What is above a folder of a name.
    fn above<'a>(path: &'a str, name: &str) -> Option<&'a str> {
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        (last == name).then_some(above)
    }
    if file_name.ends_with(".npy") {
        above(parent, METADATA)
    } else if file_name.ends_with(".png") {
        let (images, _batch) = parent.rsplit_once('/')?;
        above(images, IMAGES)
    } else {
        (file_name == ORIGIN || file_name == UNFINISHED).then_some(parent)
    }
}

/// An error that says what a folder of images lacks; `None` where it is whole, or no such folder.
pub(crate) fn incomplete(place: &Path) -> Result<Option<DatasetError>, DatasetError> {
    let holds = |folder: &str| {
        let folder = place.join(folder);
        Ok(folder.is_dir() && !state::is_bare(&folder, &[])?)
    };
    let (there, missing) = match (holds(IMAGES)?, holds(METADATA)?) {
        (true, false) => (IMAGES, METADATA),
        (false, true) => (METADATA, IMAGES),
        _ => return Ok(None),
    };
    Ok(Some(DatasetError::Incomplete {
        dir: place.to_owned(),
        there: vec![there],
        missing: vec![missing],
        advice: "unpack the data again, completely; or move this away, and generate the images with \
                 `ls-train generate`",
    }))
}

/// What is at a path where images could be generated.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn state(dir: &Path, size: Size, difficulty: Difficulty) -> Result<State, DatasetError> {
    let own = dir.join(difficulty.folder());
    if own.join(UNFINISHED).is_file() {
        return Ok(State::Unfinished);
    }
    let source = source(dir, size, difficulty);
    if let Some(Source::Archive(_)) = source {
        return Ok(State::Complete);
    }
    for place in places(dir, size, difficulty) {
        if place.join(UNFINISHED).is_file() {
            // The same command would not continue there.
            let problem = FileProblem::Unfinished;
            let error = DatasetError::bad_file(&place.join(UNFINISHED))(problem);
            return Ok(State::Partial(error));
        }
        if let Some(error) = incomplete(&place)? {
            return Ok(State::Partial(error));
        }
        if place.join(METADATA).is_dir() && !state::is_bare(&place.join(METADATA), &[])? {
            return Ok(State::Complete);
        }
    }
    // Images of other difficulties lie beside.
    State::without_data(dir, &Difficulty::ALL.map(Difficulty::folder))
}

/// What to know before training on the images in `dir`, if there is anything: the published archive
/// has `pathfinder128` twice, and nothing learns from one of the copies.
pub fn warning(dir: &Path, size: Size, difficulty: Difficulty) -> Option<String> {
    match source(dir, size, difficulty)? {
        Source::Folder(place) => warning_of(&place, size),
        Source::Archive(_) => None,
    }
}

/// The same of the folder with the images.
pub(crate) fn warning_of(place: &Path, size: Size) -> Option<String> {
    let release = Copy::of(place)?;
    (size == Size::N128 && !release.is_inner).then(|| {
        format!(
            "this is the copy of pathfinder128 from which nothing learns \
             (google-research/long-range-arena issue 38): take {}/lra_release/pathfinder128, or \
             generate the images with `ls-train generate path-x`",
            shown(&release.outer)
        )
    })
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
