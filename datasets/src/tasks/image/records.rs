//! Images of the binary batches, and how colours become grey.

use super::{CLASSES, TOKENS};
use crate::problem::FileProblem;

/// The planes of red, green and blue.
const PLANES: usize = 3 * TOKENS;

/// Grey images and their classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The pixels, image by image and row by row.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u8>,
}

impl Records {
    /// Adds an image of three planes of colour.
    pub(super) fn push(&mut self, label: u8, planes: &[u8]) -> Result<(), FileProblem> {
        if usize::from(label) >= CLASSES {
            return Err(FileProblem::Label {
                record: self.labels.len() + 1,
                label,
                wanted: "0 to 9",
            });
        }
        self.labels.push(label);
        let (red, rest) = planes.split_at(TOKENS);
        let (green, blue) = rest.split_at(TOKENS);
        let colours = red.iter().zip(green).zip(blue);
        let pixels = colours.map(|((&red, &green), &blue)| grey(red, green, blue));
        self.pixels.extend(pixels);
        Ok(())
    }

    pub(super) fn append(&mut self, other: Records) {
        self.pixels.extend(other.pixels);
        self.labels.extend(other.labels);
    }
}

/// TensorFlow's `rgb_to_grayscale` of bytes, in single precision as there.
pub(super) fn grey(red: u8, green: u8, blue: u8) -> u8 {
    let part = |value: u8, weight: f32| f32::from(value) * (1.0 / 255.0) * weight;
    let brightness = part(red, 0.2989) + part(green, 0.5870) + part(blue, 0.1140);
    (brightness * 255.5) as u8
}

/// Reads a batch of the binary version: records of a label and three planes.
///
/// # Errors
/// [`FileProblem::Length`] unless there are whole records, [`FileProblem::Label`].
pub fn parse_binary(bytes: &[u8]) -> Result<Records, FileProblem> {
    let size = PLANES + 1;
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        return Err(FileProblem::Length {
            found: bytes.len() as u64,
            wanted: format!("whole records of {size} are needed (10000 of them: 30730000)"),
        });
    }
    let mut records = Records::default();
    for record in bytes.chunks_exact(size) {
        records.push(record[0], &record[1..])?;
    }
    Ok(records)
}
