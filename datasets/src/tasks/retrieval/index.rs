//! Where each line of a file is, found in one pass that keeps none of them.

use std::io::Read;
use std::path::Path;

use memchr::{memchr, memchr_iter};

use crate::lines::{line_end, unmarked, without_end};
use crate::listops::shorten;
use crate::{DatasetError, LineProblem};

/// Bytes a line may have: two papers. A file without line ends is not read into memory.
pub(super) const LONGEST: usize = 64 << 20;
/// Bytes that are read at a time.
const CHUNK: usize = 4 << 20;

const LAYOUT: &str = "label, first id, second id, first text, second text, with tabs between";

/// One line: two documents and whether they belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The first document, not cut off.
    pub first: &'a [u8],
    /// The second document, not cut off.
    pub second: &'a [u8],
    /// The class.
    pub label: u8,
}

/// Reads a line, without its end: a label (a number, `0.0` for instance), two ids, two texts, with
/// tabs between and no quoting.
///
/// # Errors
/// Says what is wrong with the line.
pub fn parse_line(line: &[u8]) -> Result<Pair<'_>, LineProblem> {
    if line.is_empty() {
        return Err(LineProblem::Blank);
    }
    std::str::from_utf8(line)?;
    let found = memchr_iter(b'\t', line).count() + 1;
    let mut fields = line.split(|&byte| byte == b'\t');
    let fields = [(); 5].map(|()| fields.next().unwrap_or_default());
    let [label, _, _, first, second] = fields;
    if found != fields.len() {
        return Err(LineProblem::Fields {
            found,
            wanted: fields.len(),
            layout: LAYOUT,
        });
    }
    let number = std::str::from_utf8(label)
        .ok()
        .and_then(|text| text.trim().parse::<f64>().ok());
    let label = match number {
        Some(0.0) => 0,
        Some(1.0) => 1,
        _ => {
            return Err(LineProblem::Class {
                found: shorten(label),
                wanted: "0 or 1",
            });
        }
    };
    Ok(Pair {
        first,
        second,
        label,
    })
}

/// Where the lines of a file are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub starts: Vec<u64>,
    /// Without line ends.
    pub lengths: Vec<u32>,
    pub labels: Vec<u8>,
    /// Lines one of whose documents is empty.
    pub skipped: usize,
    /// Whether the last line has no end: what its last document lacks is unknown.
    pub has_open_end: bool,
}

impl Index {
    /// Reads a file through once, and checks every line. Its path is for messages.
    pub fn of(mut file: impl Read, path: &Path) -> Result<Self, DatasetError> {
        let mut index = Index::default();
        let mut text: Vec<u8> = Vec::new();
        // Where `text` begins in the file, what was searched of it, and the number of its line.
        let (mut start, mut searched, mut line) = (0u64, 0, 1);
        let mut end_byte = None;
        loop {
            let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut text);
            let is_last = read.map_err(DatasetError::io("read", path))? == 0;
            let end_byte = *end_byte.get_or_insert_with(|| {
                let mark = text.len() - unmarked(&text).len();
                text.drain(..mark);
                start += mark as u64;
                line_end(&text)
            });
            let mut done = 0;
            while let Some(length) = memchr(end_byte, &text[searched..]) {
                let end = searched + length;
                index.add(path, line, start + done as u64, &text[done..end], true)?;
                (done, searched, line) = (end + 1, end + 1, line + 1);
            }
            if is_last {
                index.has_open_end = done < text.len();
                if index.has_open_end {
                    index.add(path, line, start + done as u64, &text[done..], false)?;
                }
                break;
            }
            text.drain(..done);
            start += done as u64;
            searched = text.len();
            if text.len() > LONGEST {
                let problem = LineProblem::TooLong(LONGEST);
                return Err(DatasetError::malformed(path, line)(problem));
            }
        }
        if index.labels.is_empty() {
            return Err(DatasetError::NoSamples(path.to_owned()));
        }
        Ok(index)
    }

    fn add(
        &mut self,
        path: &Path,
        number: usize,
        start: u64,
        line: &[u8],
        has_end: bool,
    ) -> Result<(), DatasetError> {
        let line = without_end(line, b'\n');
        let pair = parse_line(line).map_err(|problem| {
            let too_few =
                matches!(problem, LineProblem::Fields { found, wanted, .. } if found < wanted);
            // Only the last line can lack its end; a cut in it may fall into a character, too.
            let is_cut = !has_end && (too_few || matches!(problem, LineProblem::NotUtf8(_)));
            DatasetError::malformed(path, number)(match is_cut {
                true => LineProblem::CutOff,
                false => problem,
            })
        })?;
        if pair.first.is_empty() || pair.second.is_empty() {
            self.skipped += 1;
            return Ok(());
        }
        self.starts.push(start);
        self.lengths.push(line.len() as u32);
        self.labels.push(pair.label);
        Ok(())
    }
}
