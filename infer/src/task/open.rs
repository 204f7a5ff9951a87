//! The splits of a task's data, which are packed into a file each first, once.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transformer_ls_datasets::cache::{Key, cached, is_packed};
use transformer_ls_datasets::release::Release;
use transformer_ls_datasets::{DatasetError, Options, Samples, Split, Task};

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
    options: Options,
    release: Option<Arc<Release>>,
    /// The first split's: others that are read from the same files share what was seen of them, for
    /// there may be many to look at.
    first: OnceCell<Key>,
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
        let (task, options) = task(config)?;
        let mut data = Self {
            config,
            dir,
            task,
            options,
            release: None,
            first: OnceCell::new(),
        };
        let Some(archive) = task.archive(dir, &options) else {
            return Ok(data);
        };
        let folder = data.packed_in();
        for &split in splits {
            if !is_packed(&folder, &data.key(split)?).unwrap_or(false) {
                let release = task.release(&archive, &options, &folder, progress, cancelled)?;
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
        let key = self.key(split)?;
        let release = self.release.as_ref();
        let open = || self.task.open(self.dir, release, split, &self.options);
        let folder = self.packed_in();
        match cached(&folder, &key, open, watch.progress, watch.cancelled) {
            Ok(packed) => Ok(Box::new(packed)),
            // Beside the data nothing can be written: the samples as they are read.
            Err(error) if self.config.data.cache.is_none() && error.is_read_only() => {
                tracing::info!("samples are not packed: {error}");
                Ok(open()?)
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

    fn key(&self, split: Split) -> Result<Key, TaskError> {
        let key = self.task.cache_key(self.dir, split, &self.options)?;
        let first = self.first.get_or_init(|| key.clone());
        Ok(match first.sources == key.sources {
            true => first.for_split(split),
            false => key,
        })
    }

    /// The folder of the packed samples.
    fn packed_in(&self) -> PathBuf {
        let chosen = self.config.data.cache.as_deref();
        chosen.map_or_else(|| beside(self.dir), Path::to_owned)
    }
}

/// In the data's folder, or in the folder of the data's archive.
fn beside(data: &Path) -> PathBuf {
    match data.is_file() {
        true => data.with_file_name(PACKED),
        false => data.join(PACKED),
    }
}
