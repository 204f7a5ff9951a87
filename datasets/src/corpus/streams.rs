//! The order of training.

use serde::{Deserialize, Serialize};

use super::Part;
use crate::DatasetError;

/// A split as streams: it is cut in as many contiguous stretches of the same length as a batch has rows,
/// and each row reads its own from start to end, segment by segment, with its memory carried over. What
/// is left of the split behind the last stretch isn't read.
///
/// A segment of `m` inputs has `m + 1` ids, for the target of an input is the id behind it. The last id of
/// a segment is the first input of the next. At the end of the streams, where fewer than `m + 1` ids are
/// left, all rows start again, and their memory has to be forgotten: see [`Segment::starts_epoch`].
///
/// Nothing is remembered: what is read is a function of the text, the number of rows, a [`Position`] and
/// a length. So training goes on exactly where it stopped, and phases of it may differ in length.
#[derive(Clone, Debug)]
pub struct Streams {
    part: Part,
    rows: usize,
    length: usize,
}

/// Where all rows of [`Streams`] are. It is of use with the same text, the same division in splits and the
/// same number of rows alone.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// How often the streams have been read to their ends.
    pub epoch: u64,
    /// Bytes of each stream that have been inputs since.
    pub offset: u64,
}

/// What a batch reads in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Inputs and targets: `[rows, m + 1]`, a row after the other. Of a row the inputs are the first `m`
    /// ids, and the targets the last `m`.
    pub ids: Vec<u16>,
    /// Where it was read: the start of the streams, where the position asked for was too close to their
    /// end.
    pub position: Position,
    /// Where the next segment is, of whatever length.
    pub next: Position,
    /// Whether it is at the start of the streams, so that what memory there is is of another place in the
    /// text and has to be forgotten.
    pub starts_epoch: bool,
}

impl Streams {
    /// Streams for batches of `rows` rows, to be read in segments of at most `longest` inputs.
    ///
    /// # Errors
    /// [`DatasetError::ShortText`] if the split is too short for one segment in each row.
    ///
    /// # Panics
    /// If `rows` or `longest` is 0.
    pub fn new(part: Part, rows: usize, longest: usize) -> Result<Self, DatasetError> {
        assert!(rows > 0 && longest > 0, "no rows, or no inputs");
        let length = part.len() / rows;
        if length <= longest {
            let needed = longest.saturating_add(1).saturating_mul(rows);
            let of_what = match rows {
                1 => format!("a segment of {longest} bytes and the byte behind it"),
                rows => format!("segments of {longest} bytes and the byte behind, in {rows} rows"),
            };
            return Err(part.too_short(needed, of_what));
        }
        Ok(Self { part, rows, length })
    }

    /// The rows of a batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a stream in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The split that is read.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// How many segments of `inputs` inputs an epoch has.
    ///
    /// # Panics
    /// If `inputs` is 0.
    pub fn segments(&self, inputs: usize) -> usize {
        // The last byte is a target only.
        (self.length - 1) / inputs
    }

    /// Where segment `step`, counted from 0, is if all have `inputs` inputs.
    ///
    /// # Panics
    /// As [`Streams::at`].
    pub fn position(&self, step: u64, inputs: usize) -> Position {
        self.assert_fits(inputs);
        let segments = self.segments(inputs) as u64;
        Position {
            epoch: step / segments,
            offset: step % segments * inputs as u64,
        }
    }

    /// The segment of `inputs` inputs at a position, or, where less is left of the streams, the first of
    /// the next epoch.
    ///
    /// # Panics
    /// If `inputs` is 0, or not below the length of a stream, which [`Streams::new`] looks after.
    pub fn at(&self, position: Position, inputs: usize) -> Segment {
        self.assert_fits(inputs);
        // A position from a damaged file is past the end, too.
        let last_start = (self.length - 1 - inputs) as u64;
        let position = match position.offset <= last_start {
            true => position,
            false => Position {
                epoch: position.epoch.saturating_add(1),
                offset: 0,
            },
        };
        let offset = position.offset as usize;
        let mut ids = Vec::with_capacity(self.rows * (inputs + 1));
        for row in 0..self.rows {
            let start = row * self.length + offset;
            ids.extend(self.part.ids(start..start + inputs + 1));
        }
        Segment {
            ids,
            position,
            next: Position {
                epoch: position.epoch,
                offset: position.offset + inputs as u64,
            },
            starts_epoch: offset == 0,
        }
    }

    fn assert_fits(&self, inputs: usize) {
        assert!(
            (1..self.length).contains(&inputs),
            "a segment of {inputs} inputs in streams of {} bytes",
            self.length
        );
    }
}
