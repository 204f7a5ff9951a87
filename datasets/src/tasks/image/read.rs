//! Reading the binary version of CIFAR-10, as a folder or an archive.

use std::cell::Cell;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;

use super::records::Records;
use super::{DESCRIPTOR, Protocol, TOKENS, parse_binary, places};
use crate::archive::{each_file, inside};
use crate::cache::{Key, Seen};
use crate::files::Source;
use crate::problem::FileProblem;
use crate::sample::ids;
use crate::splits::{tfds_order, torch_permutation};
use crate::{DatasetError, Sample, Samples, Split, TokenIds};

/// The batches; the last one is the test split.
const BATCHES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// The batches that a split is in.
fn batches(split: Split) -> &'static [&'static str] {
    let (train, test) = BATCHES.split_at(5);
    if split == Split::Test { test } else { train }
}

/// One split of grey CIFAR-10 in memory: 46 MB for training.
#[derive(Clone)]
pub struct Image {
    source: Source,
    records: Records,
    side_files: usize,
}

/// The first of the places that is an archive, or a folder with any of the batches.
pub(super) fn find(path: &Path) -> Option<Source> {
    let holds_any = |place: &Path| BATCHES.iter().any(|name| place.join(name).is_file());
    Source::first(places(path), holds_any)
}

/// The same, with an error that says where was looked.
fn locate(path: &Path) -> Result<Source, DatasetError> {
    find(path).ok_or_else(|| match other_version(path) {
        Some((place, found)) => DatasetError::bad_file(&place)(FileProblem::NotBinary(found)),
        None => DatasetError::NotFound {
            task: DESCRIPTOR.name,
            dir: path.to_owned(),
            looked: places(path),
            advice: "Fetch it with `ls-train fetch image`, or name a folder with the binary \
                     version of CIFAR-10 or its archive with --data",
        },
    })
}

/// The files that a split is read from.
fn files(source: Source, split: Split) -> Vec<PathBuf> {
    match source {
        Source::Folder(folder) => batches(split).iter().map(|b| folder.join(b)).collect(),
        Source::Archive(path) => vec![path],
    }
}

fn read_folder(folder: &Path, batches: &[&str]) -> Result<Vec<Records>, DatasetError> {
    let read = |batch: &&str| {
        let path = folder.join(batch);
        let bytes = fs::read(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => {
                let name = (*batch).to_owned();
                DatasetError::bad_file(folder)(FileProblem::Missing(name))
            }
            _ => DatasetError::io("read", &path)(cause),
        })?;
        parse_binary(&bytes).map_err(DatasetError::bad_file(&path))
    };
    batches.iter().map(read).collect()
}

/// How many side files an archive has, too.
fn read_archive(path: &Path, batches: &[&str]) -> Result<(Vec<Records>, usize), DatasetError> {
    let number = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        batches.iter().position(|batch| *batch == file)
    };
    let mut found: Vec<Option<Records>> = vec![None; batches.len()];
    let other = Cell::new(None);
    let sides = each_file(
        path,
        |name| {
            let is_other = version(name);
            other.set(other.get().or(is_other));
            is_other.is_none() && number(name).is_some()
        },
        |name, bytes| {
            let records =
                parse_binary(&bytes).map_err(DatasetError::bad_file(&inside(path, name)))?;
            if let Some(at) = number(name) {
                found[at] = Some(records);
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    let named = found.into_iter().zip(batches).map(|(records, batch)| {
        records.ok_or_else(|| {
            DatasetError::bad_file(path)(match other.get() {
                Some(found) => FileProblem::NotBinary(found),
                None => FileProblem::Missing((*batch).to_owned()),
            })
        })
    });
    Ok((named.collect::<Result<_, _>>()?, sides))
}

/// The version that a file of CIFAR belongs to, or an archive of it; `None` for the one that is read
/// and for other files.
fn version(path: &str) -> Option<&'static str> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let is_batch = |end: &str| {
        BATCHES
            .iter()
            .any(|b| b.strip_suffix(".bin") == name.strip_suffix(end))
    };
    if path
        .split(['/', '\\'])
        .any(|part| part.starts_with("cifar-100-"))
        || name == "fine_label_names.txt"
    {
        Some("CIFAR-100")
    } else if is_batch("") || name == "cifar-10-python.tar.gz" {
        Some("the Python version of CIFAR-10")
    } else if is_batch(".mat") || name == "cifar-10-matlab.tar.gz" {
        Some("the MATLAB version of CIFAR-10")
    } else {
        None
    }
}

/// Another version of CIFAR in `path`, or one folder below, and where it is.
fn other_version(path: &Path) -> Option<(PathBuf, &'static str)> {
    let of = |place: &Path| {
        let folder = place.file_name().unwrap_or_default();
        let mut names = fs::read_dir(place).ok()?.flatten();
        let found = names.find_map(|entry| {
            let path = Path::new(folder).join(entry.file_name());
            version(path.to_str()?)
        });
        Some((place.to_owned(), found?))
    };
    let below = ["cifar-10-batches-py", "cifar-10-batches-mat"];
    let below = below.iter().find_map(|name| of(&path.join(name)));
    of(path).or(below)
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached).
///
/// # Errors
/// [`DatasetError::NotFound`].
pub fn cache_key(path: &Path, split: Split, protocol: Protocol) -> Result<Key, DatasetError> {
    Ok(Key {
        task: DESCRIPTOR.name.to_owned(),
        split,
        options: format!("grey, {protocol}"),
        first_id: 0,
        sources: files(locate(path)?, split),
        seen: Seen::default(),
    })
}

impl Image {
    /// Reads a split from `path`: the folder of the batches, its `.tar.gz`, or a folder that holds
    /// either (see [`places`]). Archives are read where they lie.
    ///
    /// Dev is a tenth of the published training images; `protocol` says which.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] lists where the batches were looked for;
    /// [`DatasetError::BadFile`] names a damaged batch or archive.
    pub fn open(path: &Path, split: Split, protocol: Protocol) -> Result<Self, DatasetError> {
        let source = locate(path)?;
        let mut all = Records::default();
        let (read, side_files) = match &source {
            Source::Folder(folder) => (read_folder(folder, batches(split))?, 0),
            Source::Archive(path) => read_archive(path, batches(split))?,
        };
        for batch in read {
            all.append(batch);
        }
        let records = if split == Split::Test {
            all
        } else {
            let count = all.labels.len();
            let order = match protocol {
                Protocol::Tfds => tfds_order(count),
                Protocol::S4 => torch_permutation(count, 42),
            };
            let (train, dev) = order.split_at(count * 9 / 10);
            let kept = if split == Split::Train { train } else { dev };
            take(&all, kept)
        };
        if records.labels.is_empty() {
            return Err(DatasetError::NoSamples(source.path().to_owned()));
        }
        Ok(Self {
            source,
            records,
            side_files,
        })
    }

    /// The folder or archive that was read.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Side files in an archive, which were passed over.
    pub(crate) fn side_files(&self) -> usize {
        self.side_files
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u8] {
        &self.records.labels
    }
}

fn take(all: &Records, order: &[u32]) -> Records {
    let mut records = Records::default();
    records.pixels.reserve(order.len() * TOKENS);
    for &at in order {
        let at = at as usize;
        let pixels = &all.pixels[at * TOKENS..][..TOKENS];
        records.pixels.extend_from_slice(pixels);
        records.labels.push(all.labels[at]);
    }
    records
}

impl Dataset<Sample> for Image {
    /// # Panics
    /// If `index` is not below the number of samples, as Burn asks for.
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        let pixels = &self.records.pixels[index * TOKENS..][..TOKENS];
        Ok(Sample {
            documents: TokenIds::One(ids(pixels, 0)),
            label: self.records.labels[index],
        })
    }

    fn len(&self) -> usize {
        self.records.labels.len()
    }
}

impl Samples for Image {}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("source", &self.source)
            .field("samples", &self.len())
            .finish()
    }
}
