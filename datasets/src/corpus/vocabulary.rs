//! The bytes that a model knows.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::UnknownName;

/// The bytes that a model knows, in their order, and an id for each, counted from 0.
///
/// Written as a list of bytes and of runs of them, `10,32-34,97-122`, in configurations and beside
/// weights.
///
/// ```
/// use transformer_ls_datasets::corpus::Vocabulary;
///
/// let vocabulary = Vocabulary::of(b"abracadabra");
/// assert_eq!(vocabulary.to_string(), "97-100,114");
/// assert_eq!(vocabulary.encode(b"bar").unwrap(), [1, 0, 4]);
/// assert_eq!(vocabulary.decode(&[1, 0, 4]).unwrap(), b"bar");
/// let error = vocabulary.encode(b"bat").unwrap_err();
/// assert!(error.to_string().starts_with("'t' (byte 116), at byte 3 in line 1, "));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Vocabulary(Arc<Table>);

#[derive(PartialEq, Eq)]
struct Table {
    /// The byte of each id.
    bytes: Vec<u8>,
    /// The id of each byte.
    ids: [Option<u16>; 256],
}

impl Vocabulary {
    /// The different bytes of a text.
    pub fn of(text: &[u8]) -> Self {
        let mut seen = [false; 256];
        for &byte in text {
            seen[usize::from(byte)] = true;
        }
        Self::from_seen(&seen)
    }

    fn from_seen(seen: &[bool; 256]) -> Self {
        let bytes: Vec<u8> = (0..=u8::MAX).filter(|&b| seen[usize::from(b)]).collect();
        let mut ids = [None; 256];
        for (id, &byte) in (0..).zip(&bytes) {
            ids[usize::from(byte)] = Some(id);
        }
        Self(Arc::new(Table { bytes, ids }))
    }

    /// The number of ids: 1 to 256, or 0 of no text.
    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.0.bytes.is_empty()
    }

    /// The bytes, by id.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The id of a byte; `None` where the model doesn't know it.
    pub fn id(&self, byte: u8) -> Option<u16> {
        self.0.ids[usize::from(byte)]
    }

    /// The byte of an id; `None` where there is no such id.
    pub fn byte(&self, id: u16) -> Option<u8> {
        self.0.bytes.get(usize::from(id)).copied()
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// [`UnknownByte`] names the first byte that isn't known, and its place.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u16>, UnknownByte> {
        self.look_through(text, 0..text.len())?;
        Ok(self.known(text).collect())
    }

    /// The bytes of ids; `None` where one of them is none of the vocabulary's.
    pub fn decode(&self, ids: &[u16]) -> Option<Vec<u8>> {
        ids.iter().map(|&id| self.byte(id)).collect()
    }

    /// The ids of a text whose bytes are all known.
    pub(super) fn known(&self, text: &[u8]) -> impl Iterator<Item = u16> {
        text.iter().map(|&byte| self.id(byte).unwrap_or_default())
    }

    /// Looks in a part of a text for a byte that isn't known.
    pub(super) fn look_through(&self, text: &[u8], part: Range<usize>) -> Result<(), UnknownByte> {
        let mut bytes = text[part.clone()].iter();
        match bytes.position(|&byte| self.id(byte).is_none()) {
            None => Ok(()),
            Some(at) => {
                let at = part.start + at;
                Err(UnknownByte {
                    byte: text[at],
                    at: at + 1,
                    line: 1 + text[..at].iter().filter(|&&byte| byte == b'\n').count(),
                    known: self.len(),
                })
            }
        }
    }
}

impl fmt::Display for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.bytes().chunk_by(|&a, &b| a.checked_add(1) == Some(b));
        for (index, run) in runs.enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match *run {
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                [byte] => write!(f, "{separator}{byte}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vocabulary({self})")
    }
}

/// The text names no [`Vocabulary`].
fn unknown(text: &str) -> UnknownName {
    let known = "bytes from 0 to 255 and runs of them in rising order, such as 10,32-126";
    UnknownName::new("vocabulary", text, known)
}

impl FromStr for Vocabulary {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let run = |text: &str| -> Option<(u8, u8)> {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let run = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (run.0 <= run.1).then_some(run)
        };
        let mut seen = [false; 256];
        let mut next = 0;
        for part in text.split(',') {
            let (first, last) = run(part).ok_or_else(|| unknown(text))?;
            if usize::from(first) < next {
                return Err(unknown(text));
            }
            next = usize::from(last) + 1;
            seen[usize::from(first)..next].fill(true);
        }
        Ok(Self::from_seen(&seen))
    }
}

impl TryFrom<String> for Vocabulary {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Vocabulary> for String {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.to_string()
    }
}

/// A byte of a text that a model doesn't know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} (byte {byte}), at byte {at} in line {line}, is none of the {known} bytes that the model was \
     trained on: take it out of the text or replace it, or train a model on a text that has it",
    character(*byte)
)]
pub struct UnknownByte {
    /// The byte.
    pub byte: u8,
    /// Its place in the text, in bytes counted from 1.
    pub at: usize,
    /// Its line, counted from 1.
    pub line: usize,
    /// How many bytes are known.
    pub known: usize,
}

/// What a byte stands for.
fn character(byte: u8) -> String {
    match byte {
        b' ' => "a space".to_owned(),
        b'\t' => "a tab".to_owned(),
        b'\n' => "a line end".to_owned(),
        b'\r' => "a carriage return".to_owned(),
        byte if byte.is_ascii_graphic() => format!("{:?}", char::from(byte)),
        byte if byte.is_ascii() => "a control character".to_owned(),
        // One of several bytes in UTF-8, or a character of an older encoding.
        _ => "a character outside ASCII".to_owned(),
    }
}
