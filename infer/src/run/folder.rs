//! The run folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;
use transformer_ls_burn::Classifier;
use transformer_ls_burn::weights::StateDict;
use transformer_ls_datasets::atomic::{folder_of, lock_file};

use super::atomic::{UnfinishedFolder, remove_unfinished, write_atomically};
use super::{
    Checkpoint, CheckpointWriter, ConfigError, MetricLine, MetricsLog, RunConfig, RunError,
    Summary, checkpoint, metrics,
};
use crate::weights_file::{self, WeightsFileError};

const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
const SUMMARY: &str = "summary.json";
const WEIGHTS: &str = "model.safetensors";
const INIT: &str = "init.safetensors";
const CHECKPOINTS: &str = "checkpoint";
const LOCK: &str = ".lock";

/// What decides a run of some kind, and what such a run records.
pub trait Configuration: Clone {
    /// A line of `metrics.jsonl`.
    type Line: Serialize + DeserializeOwned;
    /// What `summary.json` holds.
    type Summary: Serialize + DeserializeOwned;

    /// Reads a configuration from a JSON file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, that is malformed, or of a run of another kind.
    fn from_file(path: &Path) -> Result<Self, ConfigError>;

    /// The configuration as JSON text, a field a line.
    fn to_json(&self) -> String;
}

impl Configuration for RunConfig {
    type Line = MetricLine;
    type Summary = Summary;

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        RunConfig::from_file(path)
    }

    fn to_json(&self) -> String {
        RunConfig::to_json(self)
    }
}

/// The folder of a classifier's run.
pub type RunFolder = Folder<RunConfig>;

/// The folder of one run.
///
/// One that was [created](Self::create) or [resumed](Self::resume) is locked against other writers
/// until it is dropped or the process ends, however it ends. One that was [opened](Self::open) is
/// for reading.
#[derive(Debug)]
pub struct Folder<C> {
    path: PathBuf,
    config: C,
    /// Holds the lock; a closed file releases it.
    _lock: Option<File>,
}

impl<C: Configuration> Folder<C> {
    /// A new run folder with its `config.json`, which appears in one step.
    ///
    /// # Errors
    ///
    /// [`RunError::Exists`] if anything is at the path (nothing is ever deleted), or the system's
    /// error.
    pub fn create(path: &Path, config: &C) -> Result<Self, RunError> {
        Self::create_from(path, config, None)
    }

    /// [`create`](Self::create), with the weights of the run that this one starts from, so that a
    /// resume doesn't need that one.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_from(path: &Path, config: &C, init: Option<&[u8]>) -> Result<Self, RunError> {
        let init = init.map(|init| (INIT, init));
        Self::create_holding(path, config, init.as_slice())
    }

    /// [`create`](Self::create) for a model that was trained elsewhere, with the bytes of its
    /// `model.safetensors`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_trained(path: &Path, config: &C, weights: &[u8]) -> Result<Self, RunError> {
        Self::create_holding(path, config, &[(WEIGHTS, weights)])
    }

    fn create_holding(path: &Path, config: &C, files: &[(&str, &[u8])]) -> Result<Self, RunError> {
        let exists = || RunError::Exists(path.to_path_buf());
        if path.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let parent = folder_of(path);
        fs::create_dir_all(parent).map_err(RunError::io("create the folder", parent))?;
        let unfinished = UnfinishedFolder::beside(path)?;
        let lock = lock(&unfinished.path)?;
        write_atomically(&unfinished.path.join(CONFIG), config.to_json().as_bytes())?;
        for (name, bytes) in files {
            write_atomically(&unfinished.path.join(name), bytes)?;
        }
        // Someone else may have been faster: renaming onto a folder that holds a run is refused by
        // the system.
        match unfinished.rename_to(path) {
            Ok(()) => {}
            Err(_) if path.join(CONFIG).exists() => return Err(exists()),
            Err(error) => return Err(error),
        }
        Ok(Self {
            path: path.to_path_buf(),
            config: config.clone(),
            _lock: Some(lock),
        })
    }

    /// An existing run, to be continued: locked, and cleaned of what a killed process left
    /// unfinished.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`RunError::Locked`] if another process writes it.
    pub fn resume(path: &Path) -> Result<Self, RunError> {
        let mut folder = Self::open(path)?;
        folder._lock = Some(lock(path)?);
        remove_unfinished(path);
        remove_unfinished(&folder.checkpoints_path());
        Ok(folder)
    }

    /// An existing run, for reading.
    ///
    /// # Errors
    ///
    /// A path that does not exist or holds no run, or a configuration that cannot be read.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if !path.is_dir() {
            return Err(match path.exists() {
                true => RunError::NotARun(path.to_path_buf()),
                false => RunError::Missing(path.to_path_buf()),
            });
        }
        let config = path.join(CONFIG);
        if !config.exists() {
            return Err(RunError::NotARun(path.to_path_buf()));
        }
        Ok(Self {
            config: C::from_file(&config)?,
            path: path.to_path_buf(),
            _lock: None,
        })
    }

    /// Whether a path is a run folder, complete or not.
    pub fn is_run(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration that the run was started with.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// Replaces the configuration, for this session and those after it.
    ///
    /// # Errors
    ///
    /// The system's error; the old file is then untouched.
    pub fn replace_config(&mut self, config: C) -> Result<(), RunError> {
        write_atomically(&self.config_path(), config.to_json().as_bytes())?;
        self.config = config;
        Ok(())
    }

    /// `config.json`.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// `metrics.jsonl`.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// `summary.json`.
    pub fn summary_path(&self) -> PathBuf {
        self.path.join(SUMMARY)
    }

    /// `model.safetensors`.
    pub fn weights_path(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    /// `init.safetensors`.
    pub fn init_path(&self) -> PathBuf {
        self.path.join(INIT)
    }

    /// `checkpoint/`.
    pub fn checkpoints_path(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Opens the metrics for appending, cut to the length that the checkpoint remembers (0 for a
    /// fresh run, or for one that was killed before its first checkpoint).
    ///
    /// # Errors
    ///
    /// [`RunError::MetricsCut`] if the file is shorter than that, or the system's error.
    pub fn metrics(&self, keep_bytes: u64) -> Result<MetricsLog, RunError> {
        MetricsLog::open(&self.metrics_path(), keep_bytes)
    }

    /// All metrics written so far; none for a run that has not begun.
    ///
    /// # Errors
    ///
    /// A line that cannot be read, with its number.
    pub fn read_metrics(&self) -> Result<Vec<C::Line>, RunError> {
        metrics::read(&self.metrics_path())
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn write_summary(&self, summary: &C::Summary) -> Result<(), RunError> {
        let path = self.summary_path();
        let mut text = serde_json::to_string_pretty(summary).map_err(|error| RunError::Io {
            action: "write",
            path: path.clone(),
            cause: error.into(),
        })?;
        text.push('\n');
        write_atomically(&path, text.as_bytes())
    }

    /// The summary, if the run has ended.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn read_summary(&self) -> Result<Option<C::Summary>, RunError> {
        let path = self.summary_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RunError::io("read", &path)(error)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| RunError::Record {
                line: error.line(),
                path,
                problem: error.to_string(),
            })
    }

    /// The metadata of `model.safetensors`.
    ///
    /// # Errors
    ///
    /// A file that is missing or damaged.
    pub fn weights_metadata(&self) -> Result<BTreeMap<String, String>, WeightsFileError> {
        let path = self.weights_path();
        weights_file::read_metadata(&path, &weights_file::read(&path)?)
    }

    /// Begins the checkpoint of a step.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn begin_checkpoint(&self, step: usize) -> Result<CheckpointWriter, RunError> {
        CheckpointWriter::begin(&self.checkpoints_path(), step)
    }

    /// The complete checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, RunError> {
        checkpoint::list(&self.checkpoints_path())
    }
}

impl Folder<RunConfig> {
    /// Sets another learning rate for the steps after `step`. It is written to `config.json`, and later
    /// sessions keep it.
    ///
    /// # Errors
    ///
    /// As [`replace_config`](Self::replace_config).
    pub fn change_rate(&mut self, step: usize, learning_rate: f64) -> Result<(), RunError> {
        let mut config = self.config.clone();
        config.training.change_rate(step, learning_rate);
        self.replace_config(config)
    }

    /// Writes `model.safetensors`, with the configuration, the step and the accuracy on dev in its
    /// metadata, so that the file can stand alone.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn save_state(
        &self,
        state: &StateDict,
        step: usize,
        dev_accuracy: Option<f64>,
    ) -> Result<(), RunError> {
        let metadata = weights_file::metadata(&self.config, Some(step), dev_accuracy);
        weights_file::save_state(&self.weights_path(), state, &metadata)?;
        Ok(())
    }

    /// The best model of the run so far, on a device of one's choice.
    ///
    /// # Errors
    ///
    /// [`RunError::NoWeights`] if the run has none yet, or weights that do not fit the
    /// configuration.
    pub fn load_model(&self, device: &Device) -> Result<Classifier, RunError> {
        let path = self.weights_path();
        if !path.exists() {
            return Err(RunError::NoWeights(self.path.clone()));
        }
        Ok(weights_file::load(&path, &self.config.model, device)?)
    }
}

/// Takes the lock of a run folder. The system releases it when the file is closed, also for a
/// process that was killed.
fn lock(folder: &Path) -> Result<File, RunError> {
    let path = folder.join(LOCK);
    let file = lock_file(&path).map_err(RunError::io("lock", &path))?;
    file.ok_or_else(|| RunError::Locked(folder.to_path_buf()))
}
