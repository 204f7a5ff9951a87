//! `metrics.jsonl`: one line an evaluation, appended only.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use transformer_ls_datasets::Split;

use super::RunError;

/// One line of `metrics.jsonl`: how the model did on a split after a step.
///
/// JSON knows no NaN: a loss that has become one is written as `null`, and read back as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricLine {
    /// Optimizer steps taken so far.
    pub step: usize,
    /// On which part of the data.
    pub split: Split,
    /// Mean cross-entropy, in nats a sample; of a pretraining run a hidden token, or its L1.
    #[serde(deserialize_with = "null_as_nan")]
    pub loss: f64,
    /// The share of samples whose class was found (of hidden tokens found), from 0 to 1.
    #[serde(deserialize_with = "null_as_nan")]
    pub accuracy: f64,
    /// The learning rate of the step.
    #[serde(deserialize_with = "null_as_nan")]
    pub learning_rate: f64,
    /// Real tokens (padding left out) a second.
    #[serde(deserialize_with = "null_as_nan")]
    pub tokens_per_second: f64,
    /// Seconds since the run was started, breaks between sessions left out.
    #[serde(deserialize_with = "null_as_nan")]
    pub seconds: f64,
    /// Bytes that the device's memory pools hold; `null` on a CPU backend, which has none.
    pub device_bytes: Option<u64>,
}

/// For serde's `deserialize_with`: JSON has no NaN, which is written as `null`.
///
/// # Errors
///
/// Neither a number nor `null`.
pub fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// `metrics.jsonl`, open for appending.
#[derive(Debug)]
pub struct MetricsLog {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl MetricsLog {
    /// Opens the log and cuts it to `keep_bytes`: the length that the checkpoint remembers, so
    /// that steps taken after it and lost with the process do not appear twice. 0 starts afresh.
    pub(super) fn open(path: &Path, keep_bytes: u64) -> Result<Self, RunError> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(RunError::io("open", path))?;
        let found = file.metadata().map_err(RunError::io("read", path))?.len();
        if found < keep_bytes {
            return Err(RunError::MetricsCut {
                path: path.to_path_buf(),
                found,
                expected: keep_bytes,
            });
        }
        file.set_len(keep_bytes)
            .and_then(|()| file.seek(SeekFrom::Start(keep_bytes)))
            .map_err(RunError::io("cut", path))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            bytes: keep_bytes,
        })
    }

    /// Appends a line.
    ///
    /// # Errors
    ///
    /// The system's error (a full disk, for instance).
    pub fn append(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_string(line).map_err(|error| RunError::Io {
            action: "write a line to",
            path: self.path.clone(),
            cause: error.into(),
        })?;
        text.push('\n');
        // One call, so that a killed process leaves a torn line only if the system tears it.
        self.file
            .write_all(text.as_bytes())
            .map_err(RunError::io("append to", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Flushes the log to the disk and tells its length, for the checkpoint to remember.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn durable_bytes(&mut self) -> Result<u64, RunError> {
        self.file
            .sync_data()
            .map_err(RunError::io("flush", &self.path))?;
        Ok(self.bytes)
    }
}

/// All lines of a log. A last line without an end, which a killed writer may leave, is passed over.
pub(super) fn read<L: DeserializeOwned>(path: &Path) -> Result<Vec<L>, RunError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::io("read", path)(error)),
    };
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| RunError::Record {
                path: path.to_path_buf(),
                line: number + 1,
                problem: error.to_string(),
            })
        })
        .collect()
}
