//! The order of evaluation.

use std::ops::Range;

use super::Part;
use crate::DatasetError;

/// A split in the order in which a model is judged on it: every byte but the first, which nothing comes
/// before, is predicted exactly once.
///
/// The bytes to be predicted are cut in as many contiguous stretches as there are rows, whose lengths
/// differ by one at most, and each row reads its own from start to end, segment by segment, with its
/// memory carried over. What comes before a stretch is in no row's memory but its first input. So one row
/// is the fairest, and more are faster.
#[derive(Clone, Debug)]
pub struct Scoring {
    part: Part,
    rows: usize,
    inputs: usize,
}

/// A segment to be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Inputs and targets: `[rows, m + 1]`, a row after the other. Of a row the inputs are the first `m`
    /// ids, and the targets the last `m`. `m` is the same for all segments but the last, which may be
    /// shorter.
    pub ids: Vec<u16>,
    /// The number of inputs of a row: `m`.
    pub inputs: usize,
    /// How many of each row's targets count: `m`, or one less in the last segment, where the last id of a
    /// row may be padding (id 0).
    pub targets: Vec<usize>,
}

impl Scoring {
    /// Scores a split in segments of `inputs` inputs, in `rows` rows, or fewer where it has not so many
    /// bytes.
    ///
    /// # Errors
    /// [`DatasetError::ShortText`] if the split has less than two bytes.
    ///
    /// # Panics
    /// If `rows` or `inputs` is 0.
    pub fn new(part: Part, rows: usize, inputs: usize) -> Result<Self, DatasetError> {
        assert!(rows > 0 && inputs > 0, "no rows, or no inputs");
        if part.len() < 2 {
            let of_what = "a byte to read and one to predict".to_owned();
            return Err(part.too_short(2, of_what));
        }
        let rows = rows.min(part.len() - 1);
        Ok(Self { part, rows, inputs })
    }

    /// The rows of every segment.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes are scored: all of the split but the first.
    pub fn scored(&self) -> usize {
        self.part.len() - 1
    }

    /// The number of segments.
    pub fn segments(&self) -> usize {
        self.scored().div_ceil(self.rows).div_ceil(self.inputs)
    }

    /// A segment by its number, counted from 0.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn segment(&self, index: usize) -> Scored {
        assert!(index < self.segments(), "there is no segment {index}");
        let of_row = |row| {
            let stretch = self.stretch(row);
            let start = stretch.start + index * self.inputs;
            start..stretch.end.min(start + self.inputs)
        };
        // The first row is one of the longest.
        let inputs = of_row(0).len();
        let mut ids = Vec::with_capacity(self.rows * (inputs + 1));
        let mut targets = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            let range = of_row(row);
            targets.push(range.len());
            // A target stands one behind its input.
            ids.extend(self.part.ids(range.start..range.end + 1));
            ids.resize((row + 1) * (inputs + 1), 0);
        }
        Scored {
            ids,
            inputs,
            targets,
        }
    }

    /// All segments, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Scored> {
        (0..self.segments()).map(|index| self.segment(index))
    }

    /// The inputs of a row, in bytes from the split's start.
    fn stretch(&self, row: usize) -> Range<usize> {
        let (length, longer) = (self.scored() / self.rows, self.scored() % self.rows);
        let start = |row: usize| row * length + row.min(longer);
        start(row)..start(row + 1)
    }
}
