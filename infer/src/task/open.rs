//! A split of a task's data, which is packed into a file first, once.

use std::io;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use transformer_ls_datasets::cache::{Key, cached};
use transformer_ls_datasets::check::Task;
use transformer_ls_datasets::image::{self, Image};
use transformer_ls_datasets::listops::{self, ListOps};
use transformer_ls_datasets::pathfinder::{self, Pathfinder};
use transformer_ls_datasets::retrieval::{self, Retrieval};
use transformer_ls_datasets::text::{self, Text};
use transformer_ls_datasets::{DatasetError, Sample, Split};

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

/// A split of the run's task, from the files in a folder.
///
/// # Errors
///
/// Files that are missing or malformed, with file and line.
pub fn open_split(
    config: &RunConfig,
    dir: &Path,
    split: Split,
) -> Result<Box<dyn Dataset<Sample>>, TaskError> {
    open_split_watched(config, dir, split, Watch::nobody())
}

/// The same, watched while the samples are packed.
///
/// The samples are packed into one file that is mapped into memory; a second start takes them from
/// there.
///
/// # Errors
///
/// As [`open_split`], and [`DatasetError::Cancelled`].
pub fn open_split_watched(
    config: &RunConfig,
    dir: &Path,
    split: Split,
    watch: Watch,
) -> Result<Box<dyn Dataset<Sample>>, TaskError> {
    let pack = Pack { config, dir, watch };
    match task(config)? {
        Task::ListOps => {
            let tokenizer = config.data.tokenizer.ok_or(TaskError::NoTokenizer)?;
            pack.open(listops::cache_key(dir, split, tokenizer)?, || {
                ListOps::open(dir, split, tokenizer)
            })
        }
        Task::Text => pack.open(text::cache_key(dir, split)?, || Text::open(dir, split)),
        Task::Retrieval => pack.open(retrieval::cache_key(dir, split)?, || {
            Retrieval::open(dir, split)
        }),
        Task::Image => {
            let protocol = config.data.splits.unwrap_or_default();
            let key = image::cache_key(dir, split, protocol)?;
            pack.open(key, || Image::open(dir, split, protocol))
        }
        Task::Pathfinder(size) => {
            let difficulty = config.data.difficulty.unwrap_or_default();
            let key = pathfinder::cache_key(dir, size, difficulty, split)?;
            pack.open(key, || Pathfinder::open(dir, size, difficulty, split))
        }
    }
}

struct Pack<'a> {
    config: &'a RunConfig,
    dir: &'a Path,
    watch: Watch<'a>,
}

impl Pack<'_> {
    /// The packed samples; the samples as they are read where nothing can be written beside the
    /// data.
    fn open<D: Dataset<Sample> + 'static>(
        &self,
        key: Key,
        open: impl Fn() -> Result<D, DatasetError>,
    ) -> Result<Box<dyn Dataset<Sample>>, TaskError> {
        let chosen = self.config.data.cache.as_deref();
        let folder = chosen.map_or_else(|| beside(self.dir), Path::to_owned);
        let Watch {
            progress,
            cancelled,
        } = self.watch;
        match cached(&folder, &key, &open, progress, cancelled) {
            Ok(packed) => Ok(Box::new(packed)),
            Err(DatasetError::Io { cause, .. }) if chosen.is_none() && is_read_only(&cause) => {
                tracing::info!("nothing can be written to {}: {cause}", folder.display());
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

fn is_read_only(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}
