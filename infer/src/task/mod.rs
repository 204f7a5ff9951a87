//! What differs from task to task on the way to an answer: the data's files ([`open_split`]), and
//! how text that a user typed becomes a sample ([`encode`]).

mod input;
mod open;

use std::io;
use std::path::PathBuf;

use transformer_ls_datasets::DatasetError;
use transformer_ls_datasets::check::Task;
use transformer_ls_datasets::listops::{ExpressionError, TokenError};

use crate::run::RunConfig;

pub use input::encode;
pub use open::{Data, Watch, open_split};

/// Why a task's data or input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// No such task.
    #[error("the run is for the task `{task}`, which this version does not know: use a newer one")]
    Unknown {
        /// The task.
        task: String,
    },
    /// The run says no tokenizer.
    #[error(
        "the run's configuration has no `data.tokenizer`: set it to \"legacy\" or \"brackets\""
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
    /// It is not a ListOps expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// It has tokens that the model does not know.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is nothing in it.
    #[error("there is no text to read")]
    Empty,
    /// There are not two documents to compare.
    #[error("an input is two texts with a tab between them, and this has {found}")]
    NotAPair {
        /// How many there are.
        found: usize,
    },
    /// A file that was named cannot be read.
    #[error("an input is the path of a grey PNG, and {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        cause: io::Error,
    },
    /// A file that was named is no picture that the model takes.
    #[error("{} is {what}: name a grey PNG of the model's size", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// The task has no textual input.
    #[error(transparent)]
    Task(#[from] TaskError),
}

fn task(config: &RunConfig) -> Result<Task, TaskError> {
    config.task.parse().map_err(|_| TaskError::Unknown {
        task: config.task.clone(),
    })
}
