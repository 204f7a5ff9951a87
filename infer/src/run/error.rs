//! What can go wrong with a run folder.

use std::io;
use std::path::{Path, PathBuf};

use super::ConfigError;
use crate::weights_file::WeightsFileError;

/// Why a run could not be created, read or written, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something stands where the new run should go.
    #[error(
        "{} exists already: continue it with `--resume`, or give another folder with `--out`",
        .0.display()
    )]
    Exists(PathBuf),
    /// There is no such folder.
    #[error(
        "there is no run folder at {}: check the path, or train one with `ls-train`",
        .0.display()
    )]
    Missing(PathBuf),
    /// The folder is there, and is no run.
    #[error(
        "{} is not a run folder: it has no config.json; give the folder that `ls-train --out` wrote",
        .0.display()
    )]
    NotARun(PathBuf),
    /// The run has no weights yet.
    #[error(
        "{} has no model.safetensors yet: the run has not evaluated on dev so far; let it go on \
         (`--resume`) until it has",
        .0.display()
    )]
    NoWeights(PathBuf),
    /// Another process writes this run.
    #[error(
        "{} is being written by another process: wait for it to end, or stop it first",
        .0.display()
    )]
    Locked(PathBuf),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are wrong.
    #[error(transparent)]
    Weights(#[from] WeightsFileError),
    /// A record of the run cannot be read.
    #[error("{}: line {line}: {problem}; repair or remove that line", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The log of metrics is shorter than the checkpoint says it was.
    #[error(
        "{} has {found} bytes, and the checkpoint was written when it had {expected}: the file was \
         changed since; put the original back, or start a new run",
        path.display()
    )]
    MetricsCut {
        /// The file.
        path: PathBuf,
        /// Its length now.
        found: u64,
        /// Its length when the checkpoint was written.
        expected: u64,
    },
    /// The operating system refused.
    #[error("could not {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's own words.
        cause: io::Error,
    },
}

impl RunError {
    /// Wraps the system's error with what was tried on which path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            action,
            path: path.to_path_buf(),
            cause,
        }
    }
}
