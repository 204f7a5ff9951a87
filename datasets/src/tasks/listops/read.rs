//! Reading ListOps files, generated and published alike.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_dataset::Dataset;
use memchr::memchr;
use rayon::prelude::*;

use super::expression::{Symbol, Symbols, shorten};
use super::tokens::Encoder;
use super::{HEADER, Tokenizer, WANTED, file_name, incomplete, places, source};
use crate::cache::{Key, Seen};
use crate::files::{Files, Source};
use crate::flat::Flat;
use crate::lines::{line_end, unmarked, without_end};
use crate::release::Release;
use crate::sample::ids;
use crate::{DatasetError, LineProblem, Sample, Samples, Split, TokenIds};

/// One split of ListOps in memory, as token ids: about 100 MB for the usual training split.
///
/// Samples are in the file's order, of their own length (padding is the batch's business).
#[derive(Clone, Debug)]
pub struct ListOps {
    path: PathBuf,
    /// Ids fit a byte in all tokenisations.
    samples: Flat,
}

fn locate(dir: &Path, split: Split) -> Result<Source, DatasetError> {
    let found = source(dir).ok_or_else(|| DatasetError::NotPrepared {
        task: WANTED.task,
        file: file_name(split),
        dir: dir.to_owned(),
        looked: places(dir),
    })?;
    found.with(file_name(split), incomplete)
}

/// What names a packed copy of a split, see [`cached`](crate::cache::cached).
///
/// # Errors
/// [`DatasetError::NotPrepared`], [`DatasetError::Incomplete`].
pub fn cache_key(dir: &Path, split: Split, tokenizer: Tokenizer) -> Result<Key, DatasetError> {
    Ok(Key {
        task: WANTED.task.to_owned(),
        split,
        options: format!("{tokenizer} {}", tokenizer.truncation()),
        first_id: 1,
        sources: vec![locate(dir, split)?.file(file_name(split))],
        seen: Seen::default(),
    })
}

impl ListOps {
    /// Reads a split from `dir`, which holds the files itself, or an unpacked `lra_release`, or is
    /// the published archive, or holds that.
    ///
    /// Lines end in LF, CRLF or CR; a file may be gzipped (`basic_train.tsv.gz`). Every line is
    /// checked: a damaged file is refused, not skipped over. Labels are taken as they are, see [`evaluate`](super::evaluate) to check them.
    ///
    /// # Errors
    /// [`DatasetError::NotPrepared`] lists where the file was looked for,
    /// [`DatasetError::Incomplete`] which of the files are there, [`DatasetError::Malformed`] names
    /// file and line, [`DatasetError::NoSamples`] an empty file.
    pub fn open(dir: &Path, split: Split, tokenizer: Tokenizer) -> Result<Self, DatasetError> {
        Self::open_in(dir, None, split, tokenizer)
    }

    /// The same, or a split of an archive that was read before.
    pub(crate) fn open_in(
        dir: &Path,
        release: Option<&Arc<Release>>,
        split: Split,
        tokenizer: Tokenizer,
    ) -> Result<Self, DatasetError> {
        let files = match release {
            Some(release) => Files::of(release)?,
            None => locate(dir, split)?.files(&WANTED)?,
        };
        let (path, file) = files.section(file_name(split))?;
        let samples = read(file, &path, tokenizer)?;
        Ok(Self { path, samples })
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of tokens of each sample, to batch those of similar length.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.samples.lengths()
    }

    /// The class of each sample.
    pub fn labels(&self) -> &[u8] {
        &self.samples.labels
    }
}

impl Dataset<Sample> for ListOps {
    /// # Panics
    /// If `index` is not below the number of samples, as Burn asks for.
    fn get(&self, index: usize) -> Result<Sample, burn_dataset::DatasetError> {
        Ok(Sample {
            documents: TokenIds::One(ids(self.samples.document(index), 0)),
            label: self.samples.labels[index],
        })
    }

    fn len(&self) -> usize {
        self.samples.labels.len()
    }
}

impl Samples for ListOps {}

/// Appends the sample of one line, which comes without its line end.
fn push_line(samples: &mut Flat, line: &[u8], tokenizer: Tokenizer) -> Result<(), LineProblem> {
    let tab = line.iter().rposition(|&byte| byte == b'\t');
    let tab = tab.ok_or_else(|| match line {
        [] => LineProblem::Blank,
        _ => not_utf8(line).unwrap_or(LineProblem::NoTab),
    })?;
    let (expression, label) = (&line[..tab], &line[tab + 1..]);
    if expression.contains(&b'\t') {
        return Err(LineProblem::ManyTabs);
    }
    let &[digit @ b'0'..=b'9'] = label else {
        let found = shorten(label);
        return Err(not_utf8(line).unwrap_or(LineProblem::Label(found)));
    };

    let start = samples.tokens.len();
    let (mut opened, mut closed) = (0, 0);
    let mut encoder = Encoder::new(tokenizer);
    for symbol in Symbols::new(expression) {
        let symbol =
            symbol.map_err(|error| not_utf8(line).unwrap_or(LineProblem::Tokens(error)))?;
        opened += usize::from(matches!(symbol, Symbol::Open(_)));
        closed += usize::from(symbol == Symbol::Close);
        samples.tokens.extend(encoder.id(symbol));
    }
    if opened != closed {
        return Err(LineProblem::Unbalanced { opened, closed });
    }
    if samples.tokens.len() == start {
        return Err(LineProblem::Tokens(super::TokenError::Empty));
    }
    samples.tokens.truncate(start + tokenizer.truncation());
    samples.ends.push(samples.tokens.len());
    samples.labels.push(digit - b'0');
    Ok(())
}

/// What is wrong in a part of a file, with the number of the line in it, counted from 0.
type PartError = (usize, LineProblem);

/// Reads the lines of a part of a file; their number too.
fn read_part(part: &[u8], end: u8, tokenizer: Tokenizer) -> Result<Flat, PartError> {
    let mut samples = Flat::default();
    // Six bytes of text a token; what is too much goes with the part.
    samples.tokens.reserve(part.len() / 6);
    for (number, line) in part.split_inclusive(|&byte| byte == end).enumerate() {
        let text = without_end(line, end);
        push_line(&mut samples, text, tokenizer).map_err(|problem| {
            // Only the last line can lack its end. It may do without one if it is complete.
            let is_cut = line.last() != Some(&end)
                && match &problem {
                    LineProblem::NoTab => true,
                    LineProblem::Label(found) => found.is_empty(),
                    _ => false,
                };
            (number, if is_cut { LineProblem::CutOff } else { problem })
        })?;
    }
    Ok(samples)
}

/// Reads a file chunk by chunk, so that its text (about 660 MB) is never in memory as a whole;
/// the parts of a chunk are read in parallel.
fn read(mut file: impl Read, path: &Path, tokenizer: Tokenizer) -> Result<Flat, DatasetError> {
    const CHUNK: u64 = 32 << 20;
    const PARTS: usize = 32;
    let mut samples = Flat::default();
    let mut text = Vec::new();
    // The number of the line at the start of `text`, and how lines end.
    let (mut line, mut end) = (1, b'\n');
    loop {
        let chunk = file.by_ref().take(CHUNK).read_to_end(&mut text);
        let is_last = chunk.map_err(DatasetError::io("read", path))? == 0;
        if line == 1 {
            end = line_end(&text);
        }
        let complete = if is_last {
            text.len()
        } else {
            match text.iter().rposition(|&byte| byte == end) {
                Some(last) => last + 1,
                None => continue,
            }
        };
        let mut lines = &text[..complete];
        if line == 1 && !lines.is_empty() {
            lines = skip_header(unmarked(lines), end).map_err(DatasetError::malformed(path, 1))?;
            line += 1;
        }
        let parts = cut(lines, PARTS, end);
        let read: Vec<_> = parts
            .into_par_iter()
            .map(|part| read_part(part, end, tokenizer))
            .collect();
        for part in read {
            let part = part.map_err(|(number, problem)| {
                DatasetError::malformed(path, line + number)(problem)
            })?;
            line += part.labels.len();
            samples.append(&part);
        }
        text.drain(..complete);
        if is_last {
            break;
        }
    }
    if samples.labels.is_empty() {
        return Err(DatasetError::NoSamples(path.to_owned()));
    }
    samples.tokens.shrink_to_fit();
    Ok(samples)
}

fn skip_header(text: &[u8], end: u8) -> Result<&[u8], LineProblem> {
    let length = memchr(end, text).map_or(text.len(), |at| at + 1);
    let (line, rest) = text.split_at(length);
    let line = without_end(line, end);
    if line == HEADER.as_bytes() {
        Ok(rest)
    } else {
        let found = shorten(line);
        Err(not_utf8(line).unwrap_or(LineProblem::Header(found)))
    }
}

/// Cuts a text into at most `count` parts of about the same size, after line ends.
fn cut(mut text: &[u8], count: usize, end: u8) -> Vec<&[u8]> {
    let size = text.len().div_ceil(count);
    let mut parts = Vec::new();
    while !text.is_empty() {
        let least = size.min(text.len());
        let rest = memchr(end, &text[least..]);
        let (part, others) = text.split_at(rest.map_or(text.len(), |at| least + at + 1));
        parts.push(part);
        text = others;
    }
    parts
}

/// The problem of a line that is not UTF-8.
fn not_utf8(line: &[u8]) -> Option<LineProblem> {
    std::str::from_utf8(line).err().map(LineProblem::from)
}
