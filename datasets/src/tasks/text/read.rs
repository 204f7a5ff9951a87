//! Reading the reviews, as a folder or an archive.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use rayon::prelude::*;

use super::{DESCRIPTOR, TRUNCATION, encode, places};
use crate::archive::{each_file, inside};
use crate::cache::{Key, Seen};
use crate::files::Source;
use crate::flat::Flat;
use crate::lines::unmarked;
use crate::problem::FileProblem;
use crate::side::is_side;
use crate::{DatasetError, Missing, Sample, Samples, Split, TokenIds};

/// The folder of each class.
pub(crate) const CLASS_FOLDERS: [&str; 2] = ["neg", "pos"];

/// One split of the reviews in memory, as bytes: about 33 MB.
///
/// Reviews are in the order of their class and of the number that their file name starts with.
/// There is no dev split: the published protocols choose by the test split, and so does
/// [`Split::Dev`] here.
#[derive(Clone, Debug)]
pub struct Text {
    source: Source,
    reviews: Flat,
    left_out: usize,
    /// Side files in an archive, which were passed over.
    side_files: usize,
    /// A review that is not named as the published ones are, and how many there are.
    unusual: (Option<PathBuf>, usize),
}

/// The first of the places that is an archive, or a folder with `train` or `test`.
pub(super) fn find(path: &Path) -> Option<Source> {
    let is_there = |place: &Path| ["train", "test"].iter().any(|s| place.join(s).is_dir());
    Source::first(places(path), is_there)
}

/// The same, with an error that says where was looked.
fn locate(path: &Path) -> Result<Source, DatasetError> {
    find(path).ok_or_else(|| DatasetError::NotFound {
        task: DESCRIPTOR.name,
        dir: path.to_owned(),
        looked: places(path),
        advice: "Fetch it with `ls-train fetch text`, or name the folder aclImdb or its \
                 archive with --data",
    })
}

/// The files that a split is read from.
fn files(source: Source, split: Split) -> Vec<PathBuf> {
    match source {
        Source::Folder(path) => {
            let folder = path.join(split_folder(split));
            CLASS_FOLDERS.map(|class| folder.join(class)).to_vec()
        }
        Source::Archive(path) => vec![path],
    }
}

fn split_folder(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Dev | Split::Test => "test",
    }
}

/// A review's text: what is not white space at its ends, nor a byte-order mark, at most what a model
/// reads.
///
/// # Errors
/// [`FileProblem::NotUtf8`], and [`FileProblem::NoText`] if nothing is left.
pub fn trimmed(bytes: &[u8]) -> Result<&[u8], FileProblem> {
    let text = std::str::from_utf8(unmarked(bytes)).map_err(|error| {
        FileProblem::NotUtf8(bytes.len() - unmarked(bytes).len() + error.valid_up_to() + 1)
    })?;
    let text = text.trim().as_bytes();
    if text.is_empty() {
        return Err(FileProblem::NoText);
    }
    Ok(&text[..text.len().min(TRUNCATION)])
}

/// The place of a review in the order: its class, its number, its name.
type Place = (u8, u64, OsString);

/// A review as it lies.
struct Review {
    place: Place,
    path: PathBuf,
    /// `None` where the file is empty.
    text: Option<Vec<u8>>,
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached).
///
/// # Errors
/// [`DatasetError::NotFound`].
pub fn cache_key(path: &Path, split: Split, missing: Missing) -> Result<Key, DatasetError> {
    Ok(Key {
        task: DESCRIPTOR.name.to_owned(),
        split,
        options: format!("bytes {TRUNCATION}, missing reviews {missing}"),
        first_id: 1,
        sources: files(locate(path)?, split),
        seen: Seen::default(),
    })
}

impl Text {
    /// Reads a split from `path`: the folder `aclImdb`, its `.tar.gz`, or a folder that holds
    /// either (see [`places`]). Archives are read where they lie.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] lists where the reviews were looked for;
    /// [`DatasetError::BadFile`] names a damaged review or archive, a class without reviews or, with
    /// [`Missing::Refuse`], the first empty review.
    pub fn open(path: &Path, split: Split, missing: Missing) -> Result<Self, DatasetError> {
        let source = locate(path)?;
        let folder = split_folder(split);
        let (mut reviews, side_files) = match &source {
            Source::Folder(root) => (from_folder(root, folder)?, 0),
            Source::Archive(archive) => from_archive(archive, folder)?,
        };
        reviews.sort_unstable_by(|a, b| a.place.cmp(&b.place));
        let mut empty = reviews.iter().filter(|review| review.text.is_none());
        if let (Missing::Refuse, Some(first)) = (missing, empty.next()) {
            let count = 1 + empty.count();
            let what = "review";
            return Err(DatasetError::bad_file(&first.path)(
                FileProblem::Incomplete { what, count },
            ));
        }
        let unusual = || reviews.iter().filter(|review| !is_usual(&review.place.2));
        let mut data = Self {
            reviews: Flat::default(),
            source,
            left_out: 0,
            side_files,
            unusual: (unusual().next().map(|r| r.path.clone()), unusual().count()),
        };
        for review in reviews {
            let Some(text) = review.text else {
                data.left_out += 1;
                continue;
            };
            data.reviews.tokens.extend(text);
            data.reviews.ends.push(data.reviews.tokens.len());
            data.reviews.labels.push(review.place.0);
        }
        data.reviews.tokens.shrink_to_fit();
        for (class, name) in (0..).zip(CLASS_FOLDERS) {
            if !data.labels().contains(&class) {
                let folder = format!("{folder}/{name}");
                return Err(DatasetError::bad_file(data.path())(FileProblem::NoClass(
                    folder,
                )));
            }
        }
        Ok(data)
    }

    /// The folder or archive that was read.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Side files in an archive, which were passed over.
    pub(crate) fn side_files(&self) -> usize {
        self.side_files
    }

    /// A review that is not named as the published ones are, and how many there are.
    pub(crate) fn unusual(&self) -> (Option<&Path>, usize) {
        (self.unusual.0.as_deref(), self.unusual.1)
    }

    /// The class of each review.
    pub fn labels(&self) -> &[u8] {
        &self.reviews.labels
    }

    /// The number of tokens of each review, to batch those of similar length.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.reviews.lengths()
    }
}

/// The number that a file name such as `7004_3.txt` starts with.
fn number(name: &OsStr) -> u64 {
    let name = name.to_string_lossy();
    let digits = name.split(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Whether a file is named as the published ones are: number and rating.
fn is_usual(name: &OsStr) -> bool {
    let stem = name.to_str().and_then(|name| name.strip_suffix(".txt"));
    let parts = stem.and_then(|stem| stem.split_once('_'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    parts.is_some_and(|(number, rating)| is_number(number) && is_number(rating))
}

/// A review's text; `None` where there is none.
fn text_of(bytes: &[u8]) -> Result<Option<Vec<u8>>, FileProblem> {
    match trimmed(bytes) {
        Ok(text) => Ok(Some(text.to_vec())),
        Err(FileProblem::NoText) => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn from_folder(root: &Path, split: &str) -> Result<Vec<Review>, DatasetError> {
    let mut files = Vec::new();
    for (class, name) in (0..).zip(CLASS_FOLDERS) {
        let folder = root.join(split).join(name);
        if !folder.is_dir() {
            let folder = format!("{split}/{name}");
            return Err(DatasetError::bad_file(root)(FileProblem::NoClass(folder)));
        }
        for entry in fs::read_dir(&folder).map_err(DatasetError::io("read", &folder))? {
            let path = entry.map_err(DatasetError::io("read", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_owned();
            let is_review = path.extension() == Some(OsStr::new("txt"));
            if is_review && !is_side(&name.to_string_lossy()) {
                files.push(((class, number(&name), name), path));
            }
        }
    }
    let read = |(place, path): (Place, PathBuf)| {
        let bytes = fs::read(&path).map_err(DatasetError::io("read", &path))?;
        let text = text_of(&bytes).map_err(DatasetError::bad_file(&path))?;
        Ok(Review { place, path, text })
    };
    files.into_par_iter().map(read).collect()
}

fn from_archive(archive: &Path, split: &str) -> Result<(Vec<Review>, usize), DatasetError> {
    let place = |path: &str| -> Option<Place> {
        let mut parts = path.rsplit('/');
        let (name, class, folder) = (parts.next()?, parts.next()?, parts.next()?);
        let class = CLASS_FOLDERS.iter().position(|folder| *folder == class)?;
        let is_wanted = folder == split && name.ends_with(".txt");
        is_wanted.then(|| (class as u8, number(name.as_ref()), name.into()))
    };
    // By their paths: of a file that was added to an archive again the last one counts.
    let mut reviews = HashMap::new();
    let side_files = each_file(
        archive,
        |path| place(path).is_some(),
        |name, bytes| {
            let path = inside(archive, name);
            let text = text_of(&bytes).map_err(DatasetError::bad_file(&path))?;
            if let Some(place) = place(name) {
                reviews.insert(name.to_owned(), Review { place, path, text });
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok((reviews.into_values().collect(), side_files))
}

impl Dataset<Sample> for Text {
    /// # Panics
    /// If `index` is not below the number of samples, as Burn asks for.
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        Ok(Sample {
            documents: TokenIds::One(encode(self.reviews.document(index))),
            label: self.reviews.labels[index],
        })
    }

    fn len(&self) -> usize {
        self.labels().len()
    }
}

impl Samples for Text {
    fn left_out(&self) -> usize {
        self.left_out
    }
}
