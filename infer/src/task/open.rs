//! The splits of a task's data, which are packed into a file each first, once.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transformer_ls_datasets::cache::{Key, cached, is_packed};
use transformer_ls_datasets::check::Task;
use transformer_ls_datasets::image::{self, Image};
use transformer_ls_datasets::listops::{self, ListOps};
use transformer_ls_datasets::pathfinder::{self, Pathfinder};
use transformer_ls_datasets::release::{Release, archive_of};
use transformer_ls_datasets::retrieval::{self, Retrieval};
use transformer_ls_datasets::text::{self, Text};
use transformer_ls_datasets::{DatasetError, Samples, Split};

use super::{TaskError, task};
use crate::run::RunConfig;

/// The folder of packed samples beside the data, unless `data.cache` names another.
const PACKED: &str = "packed";

/// Who is told how many samples of how many are packed, and asked whether to give up.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Samples packed, and all samples of the split.
    pub progress: &'a dyn Fn(usize, usize),
    /// Asked now and then.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl Watch<'static> {
    /// Nobody.
    pub fn nobody() -> Self {
        Self {
            progress: &|_, _| {},
            cancelled: &|| false,
        }
    }
}

/// A split of the run's task, from the files in a folder, or an archive.
///
/// # Errors
///
/// Files that are missing or malformed, with file and line.
pub fn open_split(
    config: &RunConfig,
    dir: &Path,
    split: Split,
) -> Result<Box<dyn Samples>, TaskError> {
    let data = Data::of(config, dir, &[split], &|_, _| {}, &|| false)?;
    data.open(split, Watch::nobody())
}

/// The data of a run's task, of which splits can be opened.
///
/// The samples of each are packed into one file that is mapped into memory; a second start takes
/// them from there.
pub struct Data<'a> {
    config: &'a RunConfig,
    dir: &'a Path,
    task: Task,
    release: Option<Arc<Release>>,
    /// Names the packed images of all splits: there are many files to look at.
    images: OnceCell<Key>,
}

impl<'a> Data<'a> {
    /// Looks where the data is. An archive with several tasks' files is read through, if one of the
    /// splits is not packed yet.
    ///
    /// `progress` is told how many bytes of how many were read; `cancelled` is asked now and then.
    ///
    /// # Errors
    ///
    /// An unknown task, an archive that is damaged or holds none of the task's files,
    /// [`DatasetError::Cancelled`].
    pub fn of(
        config: &'a RunConfig,
        dir: &'a Path,
        splits: &[Split],
        progress: &dyn Fn(u64, u64),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, TaskError> {
        let mut data = Self {
            config,
            dir,
            task: task(config)?,
            release: None,
            images: OnceCell::new(),
        };
        let difficulty = config.data.difficulty.unwrap_or_default();
        let Some(archive) = archive_of(data.task, difficulty, dir) else {
            return Ok(data);
        };
        let folder = data.packed_in();
        for &split in splits {
            if !is_packed(&folder, &data.key(split)?).unwrap_or(false) {
                let task = data.task;
                let release =
                    Release::read(&archive, task, difficulty, &folder, progress, cancelled)?;
                data.release = Some(Arc::new(release));
                break;
            }
        }
        Ok(data)
    }

    /// Opens a split.
    ///
    /// # Errors
    ///
    /// Files that are missing or malformed, with file and line; [`DatasetError::Cancelled`].
    pub fn open(&self, split: Split, watch: Watch) -> Result<Box<dyn Samples>, TaskError> {
        let Data { config, dir, .. } = *self;
        let missing = config.data.missing;
        let (key, release) = (self.key(split)?, &self.release);
        match self.task {
            Task::ListOps => {
                let tokenizer = config.data.tokenizer.ok_or(TaskError::NoTokenizer)?;
                self.pack(key, watch, || match release {
                    Some(release) => ListOps::from_release(release, split, tokenizer),
                    None => ListOps::open(dir, split, tokenizer),
                })
            }
            Task::Text => self.pack(key, watch, || Text::open(dir, split, missing)),
            Task::Retrieval => self.pack(key, watch, || match release {
                Some(release) => Retrieval::from_release(release, split),
                None => Retrieval::open(dir, split),
            }),
            Task::Image => {
                let protocol = config.data.splits.unwrap_or_default();
                self.pack(key, watch, || Image::open(dir, split, protocol))
            }
            Task::Pathfinder(size) => {
                let difficulty = config.data.difficulty.unwrap_or_default();
                self.pack(key, watch, || match release {
                    Some(release) => {
                        Pathfinder::from_release(release, size, difficulty, split, missing)
                    }
                    None => Pathfinder::open(dir, size, difficulty, split, missing),
                })
            }
        }
    }

    fn key(&self, split: Split) -> Result<Key, TaskError> {
        let (data, dir) = (&self.config.data, self.dir);
        Ok(match self.task {
            Task::ListOps => {
                let tokenizer = data.tokenizer.ok_or(TaskError::NoTokenizer)?;
                listops::cache_key(dir, split, tokenizer)?
            }
            Task::Text => text::cache_key(dir, split, data.missing)?,
            Task::Retrieval => retrieval::cache_key(dir, split)?,
            Task::Image => image::cache_key(dir, split, data.splits.unwrap_or_default())?,
            Task::Pathfinder(size) => {
                if let Some(images) = self.images.get() {
                    return Ok(images.for_split(split));
                }
                let difficulty = data.difficulty.unwrap_or_default();
                let key = pathfinder::cache_key(dir, size, difficulty, split, data.missing)?;
                self.images.get_or_init(|| key).clone()
            }
        })
    }

    /// The folder of the packed samples.
    fn packed_in(&self) -> PathBuf {
        let chosen = self.config.data.cache.as_deref();
        chosen.map_or_else(|| beside(self.dir), Path::to_owned)
    }

    /// The packed samples; the samples as they are read where nothing can be written beside the
    /// data.
    fn pack<D: Samples + 'static>(
        &self,
        key: Key,
        watch: Watch,
        open: impl Fn() -> Result<D, DatasetError>,
    ) -> Result<Box<dyn Samples>, TaskError> {
        let chosen = self.config.data.cache.as_deref();
        let folder = self.packed_in();
        let Watch {
            progress,
            cancelled,
        } = watch;
        match cached(&folder, &key, &open, progress, cancelled) {
            Ok(packed) => Ok(Box::new(packed)),
            Err(error) if chosen.is_none() && error.is_read_only() => {
                tracing::info!("samples are not packed: {error}");
                Ok(Box::new(open()?))
            }
            Err(DatasetError::Io {
                action,
                path,
                cause,
            }) if path.starts_with(&folder) => Err(TaskError::Cache {
                action,
                path,
                cause,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// In the data's folder, or in the folder of the data's archive.
fn beside(data: &Path) -> PathBuf {
    match data.is_file() {
        true => data.with_file_name(PACKED),
        false => data.join(PACKED),
    }
}
