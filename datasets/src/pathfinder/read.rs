//! Reading Pathfinder's images, generated and published alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::Dataset;
use rayon::prelude::*;

use super::folder::{self, ORIGIN, UNFINISHED, metadata_files};
use super::metadata::{Entry, parse_metadata};
use super::{Difficulty, Size};
use crate::cache::Key;
use crate::check::Task;
use crate::files::{Files, Source};
use crate::problem::FileProblem;
use crate::release::Release;
use crate::splits::torch_permutation;
use crate::{DatasetError, Documents, Sample, Split, png};

/// The seed of S4's and Mega's split.
const SPLIT_SEED: u32 = 42;

/// One split of Pathfinder. Images are read when they are asked for.
///
/// The split is S4's and Mega's: images in the order of the metadata files' numbers and of their
/// lines, zero-byte images left out, permuted by `torch.randperm` with seed 42, and cut in
/// training, dev and test, a tenth each for the last two.
#[derive(Clone, Debug)]
pub struct Pathfinder {
    place: PathBuf,
    files: Files,
    size: Size,
    split: Split,
    entries: Vec<Entry>,
    skipped: usize,
}

fn locate(dir: &Path, size: Size, difficulty: Difficulty) -> Result<Source, DatasetError> {
    folder::source(dir, size, difficulty).ok_or_else(|| DatasetError::NotPrepared {
        task: size.task(),
        file: "metadata/0.npy",
        dir: dir.to_owned(),
        looked: folder::places(dir, size, difficulty),
    })
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached). It is out of date
/// when the metadata has changed; images alone are never changed.
///
/// # Errors
/// [`DatasetError::NotPrepared`], and [`DatasetError::Io`] if the file system refuses.
pub fn cache_key(
    dir: &Path,
    size: Size,
    difficulty: Difficulty,
    split: Split,
) -> Result<Key, DatasetError> {
    let sources = match locate(dir, size, difficulty)? {
        Source::Archive(path) => vec![path],
        Source::Folder(place) => {
            let files = Files::Folder(place);
            let metadata = metadata_files(&files)?.into_iter().map(|(_, name)| name);
            let origins = [ORIGIN, UNFINISHED].map(str::to_owned);
            let origins = origins.into_iter().filter(|name| files.holds(name));
            metadata
                .chain(origins)
                .map(|name| files.path(&name))
                .collect()
        }
    };
    Ok(Key {
        task: size.task().to_owned(),
        split,
        options: format!("{difficulty}, torch permutation {SPLIT_SEED}"),
        first_id: 0,
        sources,
    })
}

impl Pathfinder {
    /// Opens a split of the images in `dir`: the folder that holds `imgs` and `metadata`, one
    /// above it, or an unpacked `lra_release` (see [`places`](super::places)), or the published
    /// archive, or a folder that holds that.
    ///
    /// # Errors
    /// [`DatasetError::NotPrepared`] lists where the files were looked for,
    /// [`DatasetError::Malformed`] names a line of the metadata, [`DatasetError::BadFile`] an
    /// image of another size or difficulty, a generated one that is empty, or data whose generation
    /// was interrupted; [`DatasetError::Io`] an image that is missing.
    pub fn open(
        dir: &Path,
        size: Size,
        difficulty: Difficulty,
        split: Split,
    ) -> Result<Self, DatasetError> {
        let files = locate(dir, size, difficulty)?.files(Task::Pathfinder(size), difficulty)?;
        Self::from_files(files, size, difficulty, split)
    }

    /// The same from an archive that was read before.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`DatasetError::BadFile`] if the archive lacks an image.
    pub fn from_release(
        release: &Arc<Release>,
        size: Size,
        difficulty: Difficulty,
        split: Split,
    ) -> Result<Self, DatasetError> {
        release.is_unchanged()?;
        Self::from_files(Files::Release(release.clone()), size, difficulty, split)
    }

    fn from_files(
        files: Files,
        size: Size,
        difficulty: Difficulty,
        split: Split,
    ) -> Result<Self, DatasetError> {
        if files.holds(UNFINISHED) {
            let unfinished = files.path(UNFINISHED);
            return Err(DatasetError::bad_file(&unfinished)(FileProblem::Unfinished));
        }
        let (all, skipped) = entries(&files)?;
        // A folder that was named itself, and not by the published name, may be another's.
        let is_named = files.place().ends_with(difficulty.folder());
        let other = |entry: &&Entry| {
            let found = entry.difficulty.filter(|_| !is_named);
            found.is_some_and(|found| found != difficulty)
        };
        if let Some(entry) = all.iter().find(other)
            && let Some(found) = entry.difficulty
        {
            let image = files.path(&entry.image);
            return Err(DatasetError::bad_file(&image)(FileProblem::Difficulty {
                found,
                wanted: difficulty,
            }));
        }
        let place_of = |split| {
            let held_out = all.len() / 10;
            let train = all.len() - 2 * held_out;
            match split {
                Split::Train => 0..train,
                Split::Dev => train..train + held_out,
                Split::Test => train + held_out..all.len(),
            }
        };
        let order = torch_permutation(all.len(), SPLIT_SEED);
        let entries: Vec<Entry> = order[place_of(split)]
            .iter()
            .map(|&at| all[at as usize].clone())
            .collect();
        if entries.is_empty() {
            return Err(DatasetError::NoSamples {
                path: files.path(folder::METADATA),
            });
        }
        let data = Self {
            place: files.place(),
            files,
            size,
            split,
            entries,
            skipped,
        };
        // One look now says whether the folder holds another size.
        data.read(0)?;
        Ok(data)
    }

    /// The folder that holds `imgs` and `metadata`.
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// The size of the images.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The split that was opened.
    pub fn split(&self) -> Split {
        self.split
    }

    /// The number of zero-byte images in all splits, which were left out. The published
    /// `pathfinder32/curv_baseline` has one.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The class of each image.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = u8> {
        self.entries.iter().map(|entry| entry.label)
    }

    fn read(&self, index: usize) -> Result<Sample, DatasetError> {
        let entry = &self.entries[index];
        let bytes = self.files.read(&entry.image)?;
        let pixels = pixels(&bytes, self.size)
            .map_err(|problem| DatasetError::bad_file(&self.files.path(&entry.image))(problem))?;
        Ok(Sample {
            documents: Documents::One(pixels.into_iter().map(u16::from).collect()),
            label: entry.label,
        })
    }
}

/// The pixels of a PNG of a size.
pub(crate) fn pixels(bytes: &[u8], size: Size) -> Result<Vec<u8>, FileProblem> {
    let image = png::decode(bytes)?;
    let side = size.side();
    if (image.width, image.height) != (side, side) {
        return Err(FileProblem::Side {
            width: image.width,
            height: image.height,
            side,
        });
    }
    Ok(image.pixels)
}

/// All images of a folder but the zero-byte ones, whose number follows. Generated images are never
/// empty: such a one is an error.
fn entries(files: &Files) -> Result<(Vec<Entry>, usize), DatasetError> {
    let is_generated = files.holds(ORIGIN);
    let batches: Vec<(Vec<Entry>, usize)> = metadata_files(files)?
        .into_par_iter()
        .map(|(_, name)| {
            let all = parse_metadata(&files.read(&name)?, &files.path(&name))?;
            let count = all.len();
            let mut kept = Vec::with_capacity(count);
            for entry in all {
                if files.length(&entry.image)? > 0 {
                    kept.push(entry);
                } else if is_generated {
                    let image = files.path(&entry.image);
                    return Err(DatasetError::bad_file(&image)(FileProblem::Lost));
                }
            }
            let skipped = count - kept.len();
            Ok((kept, skipped))
        })
        .collect::<Result<_, DatasetError>>()?;
    let skipped = batches.iter().map(|(_, skipped)| skipped).sum();
    let entries = batches.into_iter().flat_map(|(entries, _)| entries);
    Ok((entries.collect(), skipped))
}

impl Dataset<Sample> for Pathfinder {
    /// # Errors
    /// If the image can't be read; the message names it.
    ///
    /// # Panics
    /// If `index` is not below the number of samples, as Burn asks for.
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        self.read(index).map_err(burn_dataset::DatasetError::new)
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}
