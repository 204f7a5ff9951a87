//! Reading Pathfinder's images, generated and published alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::Dataset;
use rayon::prelude::*;

use super::folder::{self, IMAGES, METADATA, ORIGIN, UNFINISHED, files, metadata_files};
use super::metadata::{Entry, parse_metadata};
use super::{Difficulty, Size};
use crate::cache::{Key, Seen};
use crate::files::{Files, Source};
use crate::problem::FileProblem;
use crate::release::Release;
use crate::sample::ids;
use crate::splits::torch_permutation;
use crate::{DatasetError, Missing, Sample, Samples, Split, TokenIds, png};

/// The seed of S4's and Mega's split.
const SPLIT_SEED: u32 = 42;

/// One split of Pathfinder. Images are read when they are asked for.
///
/// The split is S4's and Mega's: images in the order of the metadata files' numbers and of their
/// lines, empty ones left out, permuted by `torch.randperm` with seed 42, and cut in
/// training, dev and test, a tenth each for the last two.
#[derive(Clone, Debug)]
pub struct Pathfinder {
    place: PathBuf,
    files: Files,
    size: Size,
    entries: Vec<Entry>,
    left_out: usize,
}

pub(super) fn locate(
    dir: &Path,
    size: Size,
    difficulty: Difficulty,
) -> Result<Source, DatasetError> {
    if let Some(source) = folder::source(dir, size, difficulty) {
        return Ok(source);
    }
    let looked = folder::places(dir, size, difficulty);
    for place in &looked {
        if let Some(error) = folder::incomplete(place)? {
            return Err(error);
        }
    }
    Err(DatasetError::NotPrepared {
        task: size.task(),
        file: "metadata/0.npy",
        dir: dir.to_owned(),
        looked,
    })
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached). It is out of date when
/// the metadata or an image has changed.
///
/// # Errors
/// [`DatasetError::NotPrepared`], [`DatasetError::Incomplete`].
pub fn cache_key(
    dir: &Path,
    size: Size,
    difficulty: Difficulty,
    split: Split,
    missing: Missing,
) -> Result<Key, DatasetError> {
    let sources = match locate(dir, size, difficulty)? {
        Source::Archive(path) => vec![path],
        Source::Folder(place) => {
            let parts = [METADATA, IMAGES, ORIGIN, UNFINISHED].map(|name| place.join(name));
            parts.into_iter().filter(|path| path.exists()).collect()
        }
    };
    Ok(Key {
        task: size.task().to_owned(),
        split,
        options: format!("{difficulty}, torch permutation {SPLIT_SEED}, missing images {missing}"),
        first_id: 0,
        sources,
        seen: Seen::default(),
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
    /// image of another size or difficulty, data whose generation was interrupted or, with
    /// [`Missing::Refuse`], the first image that is empty or not there.
    pub fn open(
        dir: &Path,
        size: Size,
        difficulty: Difficulty,
        split: Split,
        missing: Missing,
    ) -> Result<Self, DatasetError> {
        Self::open_in(dir, None, size, difficulty, split, missing)
    }

    /// The same, or a split of an archive that was read before.
    pub(crate) fn open_in(
        dir: &Path,
        release: Option<&Arc<Release>>,
        size: Size,
        difficulty: Difficulty,
        split: Split,
        missing: Missing,
    ) -> Result<Self, DatasetError> {
        let files = match release {
            Some(release) => Files::of(release)?,
            None => files(locate(dir, size, difficulty)?, size, difficulty)?,
        };
        if files.holds(UNFINISHED) {
            let unfinished = files.path(UNFINISHED);
            return Err(DatasetError::bad_file(&unfinished)(FileProblem::Unfinished));
        }
        let (all, left_out) = entries(&files, size, missing)?;
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
            return Err(DatasetError::NoSamples(files.path(folder::METADATA)));
        }
        let data = Self {
            place: files.place(),
            files,
            size,
            entries,
            left_out,
        };
        // One look now says whether the folder holds another size.
        data.read(0)?;
        Ok(data)
    }

    /// The folder that holds `imgs` and `metadata`.
    pub fn path(&self) -> &Path {
        &self.place
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
            documents: TokenIds::One(ids(&pixels, 0)),
            label: entry.label,
        })
    }
}

/// The pixels of a PNG of a size.
pub(super) fn pixels(bytes: &[u8], size: Size) -> Result<Vec<u8>, FileProblem> {
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

/// The published data has one empty image: which is in no published split.
pub(super) fn is_known_empty(entry: &Entry, size: Size) -> bool {
    let is_easy = entry.difficulty == Some(Difficulty::Easy);
    size == Size::N32 && is_easy && entry.image == "imgs/0/sample_172.png"
}

/// All images of a folder but those that are left out, whose number follows.
fn entries(
    files: &Files,
    size: Size,
    missing: Missing,
) -> Result<(Vec<Entry>, usize), DatasetError> {
    let read = |(_, name): (u32, String)| {
        let all = parse_metadata(&files.read(&name)?, &files.path(&name))?;
        let lengths = all.iter().map(|entry| files.length(&entry.image));
        let lengths = lengths.collect::<Result<Vec<_>, _>>()?;
        Ok((all, lengths))
    };
    let batches = metadata_files(files)?.into_par_iter().map(read);
    let batches: Vec<_> = batches.collect::<Result<_, DatasetError>>()?;
    let mut kept = Vec::new();
    let (mut known, mut lacking) = (0, Vec::new());
    for (all, lengths) in batches {
        for (entry, length) in all.into_iter().zip(lengths) {
            match length {
                Some(1..) => kept.push(entry),
                Some(0) if is_known_empty(&entry, size) => known += 1,
                _ => lacking.push(entry.image),
            }
        }
    }
    if let (Missing::Refuse, Some(first)) = (missing, lacking.first()) {
        let problem = match files.holds(ORIGIN) {
            true => FileProblem::Lost,
            false => FileProblem::Incomplete {
                what: "image",
                count: lacking.len(),
            },
        };
        return Err(DatasetError::bad_file(&files.path(first))(problem));
    }
    Ok((kept, known + lacking.len()))
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

impl Samples for Pathfinder {
    /// The images of all splits that are empty or not there.
    fn left_out(&self) -> usize {
        self.left_out
    }

    /// All images are of one size.
    fn longer_than(&self, tokens: usize) -> Result<usize, burn_dataset::DatasetError> {
        Ok(if self.size.tokens() > tokens {
            self.len()
        } else {
            0
        })
    }
}
