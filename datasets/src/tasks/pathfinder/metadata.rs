//! The metadata of a batch of images: a line an image.

use std::path::Path;

use super::Difficulty;
use crate::DatasetError;
use crate::error::LineProblem;
use crate::lines::{line_end, unmarked};
use crate::listops::shorten;
use crate::names::within;
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
/// What the original writes in all its versions. Fewer are a line that was cut off, more are several
/// lines in one: images would be lost without a message.
const COLUMNS: usize = 11;

/// Reads metadata: plain text, as the published `.npy` files are, or a real NumPy file of text, as
/// the original generator writes.
///
/// # Errors
/// Names `path` and the line (of a NumPy file: the row) of anything malformed.
pub fn parse_metadata(bytes: &[u8], path: &Path) -> Result<Vec<Entry>, DatasetError> {
    let numbered = |(number, entry): (usize, Result<Entry, LineProblem>)| {
        entry.map_err(DatasetError::malformed(path, number + 1))
    };
    if bytes.starts_with(npy::MAGIC) {
        let rows = npy::read_strings(bytes).map_err(DatasetError::bad_file(path))?;
        let entries = rows.iter().map(|row| {
            let fields: Vec<&str> = row.iter().map(String::as_str).collect();
            entry(&fields)
        });
        return entries.enumerate().map(numbered).collect();
    }
    let text = unmarked(bytes);
    let end = line_end(text);
    let lines = text.split(|&byte| byte == end).enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let entries = lines.map(|(number, line)| {
        let entry = std::str::from_utf8(line)
            .map_err(LineProblem::from)
            .and_then(|text| entry(&text.split_whitespace().collect::<Vec<_>>()));
        (number, entry)
    });
    entries.map(numbered).collect()
}

fn entry(fields: &[&str]) -> Result<Entry, LineProblem> {
    let &[folder, file, _number, label, _, length, _, _, _, _, _] = fields else {
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
    let path = format!("{folder}/{file}");
    let image = within(&path.replace('\\', "/"))
        .ok_or_else(|| LineProblem::Name(shorten(path.as_bytes())))?;
    let length = length.parse::<f64>().ok();
    let difficulty = Difficulty::ALL
        .into_iter()
        .find(|difficulty| Some(difficulty.contour_length() as f64) == length);
    Ok(Entry {
        image,
        label,
        difficulty,
    })
}
