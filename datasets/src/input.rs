//! What users type to have it classified, where several tasks take the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::problem::FileProblem;
use crate::sample::ids;
use crate::{foreign, png};

/// Why a text is no input of a task.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not what the task reads.
    #[error("{0}")]
    Malformed(String),
    /// There is nothing in it.
    #[error("there is no text to read")]
    Empty,
    /// There are not two documents to compare.
    #[error("an input is two texts with a tab between them, and this has {0}")]
    NotAPair(usize),
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
}

/// The ids of the pixels of a PNG with so many rows and columns.
pub(crate) fn picture(path: &Path, side: usize) -> Result<Vec<u16>, InputError> {
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
                FileProblem::Png(cause) => format!("no grey PNG ({cause})"),
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
    Ok(ids(&image.pixels, 0))
}
