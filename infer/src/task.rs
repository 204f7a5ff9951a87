//! What differs from task to task on the way to an answer: the data's files, and how text that a
//! user typed becomes a sample.

use std::path::Path;

use burn_dataset::Dataset;
use transformer_ls_datasets::listops::{self, ExpressionError, ListOps, TokenError};
use transformer_ls_datasets::{DatasetError, Documents, Sample, Split};

use crate::run::RunConfig;

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
    /// The task has no textual input.
    #[error(transparent)]
    Task(#[from] TaskError),
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
    match config.task.as_str() {
        "listops" => {
            let tokenizer = config.data.tokenizer.ok_or(TaskError::NoTokenizer)?;
            Ok(Box::new(ListOps::open(dir, split, tokenizer)?))
        }
        _ => Err(unknown(config)),
    }
}

/// A sample of the run's task from text that a user typed. Its label is 0, for the model is asked.
///
/// # Errors
///
/// Text that is no input of the task.
pub fn encode(config: &RunConfig, text: &str) -> Result<Sample, InputError> {
    match config.task.as_str() {
        "listops" => {
            let tokenizer = config.data.tokenizer.ok_or(TaskError::NoTokenizer)?;
            // The tokens alone would let `[MAX 1` pass.
            listops::evaluate(text)?;
            Ok(Sample {
                documents: Documents::One(tokenizer.encode(text)?),
                label: 0,
            })
        }
        _ => Err(unknown(config).into()),
    }
}

fn unknown(config: &RunConfig) -> TaskError {
    TaskError::Unknown {
        task: config.task.clone(),
    }
}
