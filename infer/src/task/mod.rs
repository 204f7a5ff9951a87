//! A run's task on the way to an answer: its data's files ([`open_split`]), and how text that a user
//! typed becomes a sample ([`encode`]).

mod open;

use std::io;
use std::path::PathBuf;

use transformer_ls_datasets::{DatasetError, Options, Sample, Task};

use crate::run::RunConfig;

pub use open::{Data, Watch, open_split};

/// Why a task's data or input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// No such task.
    #[error("the run is for the task `{0}`, which this version does not know: use a newer one")]
    Unknown(String),
    /// The run says no tokenizer.
    #[error(
        "the run's configuration has no `data.tokenizer`: set it to \"legacy\", \"brackets\" or \
         \"depths\""
    )]
    NoTokenizer,
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The samples cannot be packed where they should be.
    #[error(
        "cannot {action} {}, where samples are packed: {cause}. Make it writable, with enough space, \
         or train with another folder (--set cache=DIR)", path.display()
    )]
    Cache {
        /// What was tried: `create`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        cause: io::Error,
    },
}

/// Why a text is no input for the model.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is none of the task's.
    #[error(transparent)]
    Input(#[from] transformer_ls_datasets::InputError),
    /// The run does not say what it would be one of.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// A sample of the run's task from text that a user typed, see
/// [`Descriptor::encode`](transformer_ls_datasets::Descriptor::encode).
///
/// # Errors
///
/// Text that is no input of the task.
pub fn encode(config: &RunConfig, typed: &str) -> Result<Sample, InputError> {
    let (task, options) = task(config)?;
    Ok(task.encode(typed, &options)?)
}

/// The run's task, and what the run chooses of what it leaves open.
fn task(config: &RunConfig) -> Result<(Task, Options), TaskError> {
    let task = config
        .known_task()
        .ok_or_else(|| TaskError::Unknown(config.task.clone()))?;
    let options = config.data.options();
    match task.has_tokenizer() && options.tokenizer.is_none() {
        true => Err(TaskError::NoTokenizer),
        false => Ok((task, options)),
    }
}
