//! Reading CIFAR-10, as a folder or an archive, the binary or the Python version.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;

use super::records::Records;
use super::{Protocol, TOKENS, parse_binary, parse_pickle, places};
use crate::archive::{each_file, inside, is_archive};
use crate::cache::Key;
use crate::problem::FileProblem;
use crate::splits::{tfds_order, torch_permutation};
use crate::{DatasetError, Documents, Sample, Split};

/// The batches' names, of the binary version with `.bin`; the last one is the test split.
pub(crate) const BATCHES: [&str; 6] = [
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
    "test_batch",
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
    split: Split,
    protocol: Protocol,
    records: Records,
}

/// Where the batches are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A folder with `data_batch_1.bin` (`true`) or `data_batch_1`, …
    Folder(PathBuf, bool),
    /// An archive of such a folder.
    Archive(PathBuf),
}

impl Source {
    pub(crate) fn find(path: &Path) -> Option<Source> {
        places(path).into_iter().find_map(|place| {
            if is_archive(&place) {
                return Some(Source::Archive(place));
            }
            let holds = |end: &str| {
                let mut names = BATCHES.iter();
                names.any(|name| place.join(format!("{name}{end}")).is_file())
            };
            let is_binary = holds(".bin");
            (is_binary || holds("")).then_some(Source::Folder(place, is_binary))
        })
    }

    /// The same, with an error that says where was looked.
    fn locate(path: &Path) -> Result<Source, DatasetError> {
        Source::find(path).ok_or_else(|| DatasetError::NotFound {
            task: "image",
            dir: path.to_owned(),
            looked: places(path),
            advice: "Fetch it with `ls-train fetch image`, or name a folder with CIFAR-10 or its \
                     archive with --data",
        })
    }

    /// The files that a split is read from.
    fn files(&self, split: Split) -> Vec<PathBuf> {
        match self {
            Source::Folder(folder, is_binary) => {
                let end = if *is_binary { ".bin" } else { "" };
                let batches = batches(split).iter();
                batches
                    .map(|batch| folder.join(format!("{batch}{end}")))
                    .collect()
            }
            Source::Archive(path) => vec![path.clone()],
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Source::Folder(path, _) | Source::Archive(path) => path,
        }
    }

    /// Reads some of [`BATCHES`].
    fn read(&self, batches: &[&str]) -> Result<Vec<Records>, DatasetError> {
        match self {
            Source::Folder(folder, is_binary) => batches
                .iter()
                .map(|batch| {
                    let end = if *is_binary { ".bin" } else { "" };
                    let path = folder.join(format!("{batch}{end}"));
                    let bytes = fs::read(&path).map_err(DatasetError::io("read", &path))?;
                    parse(&bytes, *is_binary).map_err(DatasetError::bad_file(&path))
                })
                .collect(),
            Source::Archive(path) => self.read_archive(path, batches),
        }
    }

    fn read_archive(&self, path: &Path, batches: &[&str]) -> Result<Vec<Records>, DatasetError> {
        let number = |name: &str| {
            let file = name.rsplit('/').next().unwrap_or(name);
            let stem = file.strip_suffix(".bin").unwrap_or(file);
            batches.iter().position(|batch| *batch == stem)
        };
        let mut found: Vec<Option<Records>> = vec![None; batches.len()];
        each_file(
            path,
            |name| number(name).is_some(),
            |name, bytes| {
                let records = parse(&bytes, name.ends_with(".bin"))
                    .map_err(DatasetError::bad_file(&inside(path, name)))?;
                if let Some(at) = number(name) {
                    found[at] = Some(records);
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        let named = found.into_iter().zip(batches).map(|(records, batch)| {
            records.ok_or_else(|| {
                let name = (*batch).to_owned();
                DatasetError::bad_file(path)(FileProblem::Missing { name })
            })
        });
        named.collect()
    }
}

fn parse(bytes: &[u8], is_binary: bool) -> Result<Records, FileProblem> {
    if is_binary {
        parse_binary(bytes)
    } else {
        parse_pickle(bytes)
    }
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached).
///
/// # Errors
/// [`DatasetError::NotFound`].
pub fn cache_key(path: &Path, split: Split, protocol: Protocol) -> Result<Key, DatasetError> {
    Ok(Key {
        task: "image".to_owned(),
        split,
        options: format!("grey, {protocol}"),
        first_id: 0,
        sources: Source::locate(path)?.files(split),
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
        let source = Source::locate(path)?;
        let mut all = Records::default();
        for batch in source.read(batches(split))? {
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
            return Err(DatasetError::NoSamples {
                path: source.path().to_owned(),
            });
        }
        Ok(Self {
            source,
            split,
            protocol,
            records,
        })
    }

    /// The folder or archive that was read.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// The split that was read.
    pub fn split(&self) -> Split {
        self.split
    }

    /// Who drew the line between training and dev.
    pub fn protocol(&self) -> Protocol {
        self.protocol
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
            documents: Documents::One(pixels.iter().map(|&p| u16::from(p)).collect()),
            label: self.records.labels[index],
        })
    }

    fn len(&self) -> usize {
        self.records.labels.len()
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("source", &self.source)
            .field("split", &self.split)
            .field("protocol", &self.protocol)
            .field("samples", &self.len())
            .finish()
    }
}
