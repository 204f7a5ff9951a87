//! The metadata of a batch of images: a line an image.

use std::path::{Component, Path};

use super::Difficulty;
use crate::DatasetError;
use crate::error::LineProblem;
use crate::listops::shorten;
use crate::npy;

/// What the metadata says of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The image's path from the data's folder, with `/`.
    pub image: String,
    /// The class.
    pub label: u8,
    /// What the contours' length says, where it is there and one of the published ones.
    pub difficulty: Option<Difficulty>,
}

const LAYOUT: &str = "folder, file, number, label, continuity, contour length, distractor length, \
                      paddle length, thickness, margin, contrasts";
const COLUMNS: usize = 11;
/// Folder, file, number and label: what is needed.
const LEAST: usize = 4;
/// Where the number of paddles in a target contour is.
const CONTOUR_LENGTH: usize = 5;

/// Reads metadata: plain text, as the published `.npy` files are, or a real NumPy file of text, as
/// the original generator writes.
///
/// # Errors
/// Names `path` and the line (of a NumPy file: the row) of anything malformed.
pub fn parse_metadata(bytes: &[u8], path: &Path) -> Result<Vec<Entry>, DatasetError> {
    let malformed = |line: usize, problem| DatasetError::Malformed {
        path: path.to_owned(),
        line,
        problem,
    };
    let numbered = |(number, entry): (usize, Result<Entry, LineProblem>)| {
        entry.map_err(|problem| malformed(number + 1, problem))
    };
    if bytes.starts_with(npy::MAGIC) {
        let rows = npy::read_strings(bytes).map_err(DatasetError::bad_file(path))?;
        let entries = rows.iter().map(|row| {
            let fields: Vec<&str> = row.iter().map(String::as_str).collect();
            entry(&fields)
        });
        return entries.enumerate().map(numbered).collect();
    }
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let entries = lines.map(|(number, line)| {
        let text = std::str::from_utf8(line).map_err(|error| LineProblem::NotUtf8 {
            byte: error.valid_up_to() + 1,
        });
        let fields = text.map(|text| text.split_whitespace().collect::<Vec<_>>());
        (number, fields.and_then(|fields| entry(&fields)))
    });
    entries.map(numbered).collect()
}

fn entry(fields: &[&str]) -> Result<Entry, LineProblem> {
    let &[folder, file, _number, label, ..] = fields else {
        debug_assert!(fields.len() < LEAST);
        return Err(LineProblem::Fields {
            found: fields.len(),
            wanted: COLUMNS,
            layout: LAYOUT,
        });
    };
    let label = match label {
        "0" | "0.0" => 0,
        "1" | "1.0" => 1,
        other => {
            return Err(LineProblem::Class {
                found: shorten(other.as_bytes()),
                wanted: "0 or 1",
            });
        }
    };
    let image = format!("{folder}/{file}");
    let is_below = Path::new(&image)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_below || image.contains('\\') {
        let found = shorten(image.as_bytes());
        return Err(LineProblem::Name { found });
    }
    let length = fields.get(CONTOUR_LENGTH);
    let length = length.and_then(|length| length.parse::<f64>().ok());
    let difficulty = Difficulty::ALL
        .into_iter()
        .find(|difficulty| Some(difficulty.contour_length() as f64) == length);
    Ok(Entry {
        image,
        label,
        difficulty,
    })
}
