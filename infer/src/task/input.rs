//! Samples from what a user typed.

use std::fs;
use std::path::Path;

use transformer_ls_datasets::check::Task;
use transformer_ls_datasets::{Documents, FileProblem, Sample, foreign, image, listops, png, text};

use super::{InputError, TaskError, task};
use crate::run::RunConfig;

/// A sample of the run's task from text that a user typed. Its label is 0, for the model is asked.
///
/// For ListOps that is an expression, for Text a text, for Retrieval two texts with a tab between
/// them, and for Image and Pathfinder the path of a grey PNG of the task's size.
///
/// # Errors
///
/// Text that is no input of the task.
pub fn encode(config: &RunConfig, typed: &str) -> Result<Sample, InputError> {
    let documents = match task(config)? {
        Task::ListOps => {
            let tokenizer = config.data.tokenizer.ok_or(TaskError::NoTokenizer)?;
            // The tokens alone would let `[MAX 1` pass.
            listops::evaluate(typed)?;
            Documents::One(tokenizer.encode(typed)?)
        }
        Task::Text => Documents::One(bytes(typed)?),
        Task::Retrieval => {
            let texts: Vec<&str> = typed.split('\t').collect();
            let &[first, second] = texts.as_slice() else {
                return Err(InputError::NotAPair { found: texts.len() });
            };
            Documents::Two(bytes(first)?, bytes(second)?)
        }
        Task::Image => Documents::One(pixels(Path::new(typed), image::SIDE)?),
        Task::Pathfinder(size) => Documents::One(pixels(Path::new(typed), size.side())?),
    };
    Ok(Sample {
        documents,
        label: 0,
    })
}

/// The ids of Text and of Retrieval, which are the same.
fn bytes(document: &str) -> Result<Vec<u16>, InputError> {
    let document = document.trim();
    match document.is_empty() {
        true => Err(InputError::Empty),
        false => Ok(text::encode(document.as_bytes())),
    }
}

fn pixels(path: &Path, side: usize) -> Result<Vec<u16>, InputError> {
    let bytes = fs::read(path).map_err(|cause| InputError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let image = png::decode(&bytes).map_err(|problem| {
        let path = path.to_owned();
        let what = foreign::kind(&bytes).map(str::to_owned);
        InputError::Picture {
            path,
            // What to do about data is none of a picture's business.
            what: what.unwrap_or_else(|| match problem {
                FileProblem::Empty => "empty".to_owned(),
                FileProblem::Png { cause } => format!("no grey PNG ({cause})"),
                other => other.to_string(),
            }),
        }
    })?;
    let (width, height) = (image.width, image.height);
    if (width, height) != (side, side) {
        return Err(InputError::Picture {
            path: path.to_owned(),
            what: format!("{width} × {height} pixels, and the model takes {side} × {side}"),
        });
    }
    Ok(image.pixels.into_iter().map(u16::from).collect())
}
