//! How samples lie in a packed file.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic, with the version |
//! | 8 | length of the key |
//! | 8 | number of samples |
//! | 8 | documents a sample: 1 or 2 |
//! | 8 | what is added to a stored token: 0 or 1 |
//! | 8 | number of tokens |
//! | 8 | samples of the sources that were left out |
//! | … | the key |
//! | … | the tokens, a byte each |
//! | … | the labels, a byte each |
//! | … | where each document's tokens end, 8 bytes each |
//!
//! Numbers are little-endian.

use std::ops::Range;

use crate::error::PackError;
use crate::sample::ids;
use crate::{Sample, TokenIds};

/// The last byte is the version.
pub(super) const MAGIC: &[u8; 8] = b"LSPACK\0\x02";
pub(super) const HEADER: usize = 56;

/// Where the parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub samples: usize,
    pub left_out: usize,
    pub key: Range<usize>,
    pub labels: Range<usize>,
    documents: usize,
    first_id: u16,
    payload: Range<usize>,
    ends: Range<usize>,
}

impl Parts {
    pub fn parse(bytes: &[u8]) -> Result<Self, PackError> {
        if bytes.get(..8) != Some(MAGIC) {
            return Err(PackError::Version);
        }
        let header = bytes.get(8..HEADER).ok_or(PackError::Length)?;
        let mut numbers = header.chunks_exact(8).map(number);
        let mut next = || numbers.next().and_then(|n| usize::try_from(n).ok());
        let mut next = || next().ok_or(PackError::Length);
        let (key, samples, documents) = (next()?, next()?, next()?);
        let (first_id, payload, left_out) = (next()?, next()?, next()?);
        if !(1..=2).contains(&documents) || first_id > 1 {
            return Err(PackError::Parts);
        }
        let mut at = HEADER;
        let mut part = |length: Option<usize>| {
            let end = length.and_then(|length| at.checked_add(length));
            let end = end
                .filter(|&end| end <= bytes.len())
                .ok_or(PackError::Length)?;
            let start = std::mem::replace(&mut at, end);
            Ok(start..end)
        };
        let layout = Self {
            samples,
            left_out,
            documents,
            first_id: first_id as u16,
            key: part(Some(key))?,
            payload: part(Some(payload))?,
            labels: part(Some(samples))?,
            ends: part(samples.checked_mul(8 * documents))?,
        };
        if at != bytes.len() {
            return Err(PackError::Length);
        }
        let ends = || bytes[layout.ends.clone()].chunks_exact(8).map(number);
        let is_sorted = ends().is_sorted();
        let last = ends().next_back().unwrap_or(0);
        let is_text = std::str::from_utf8(&bytes[layout.key.clone()]).is_ok();
        if !is_sorted || last != payload as u64 || !is_text {
            return Err(PackError::Parts);
        }
        Ok(layout)
    }

    /// The places of a sample's tokens, a document at a time.
    pub fn tokens(&self, bytes: &[u8], index: usize) -> Vec<Range<usize>> {
        let end = |document: usize| number(&bytes[self.ends.start + 8 * document..][..8]) as usize;
        let documents = index * self.documents..(index + 1) * self.documents;
        let range = |document: usize| {
            let start = document.checked_sub(1).map_or(0, end);
            self.payload.start + start..self.payload.start + end(document)
        };
        documents.map(range).collect()
    }

    pub fn sample(&self, bytes: &[u8], index: usize) -> Sample {
        let ids = |range: &Range<usize>| ids(&bytes[range.clone()], self.first_id);
        let tokens = self.tokens(bytes, index);
        Sample {
            documents: match tokens.as_slice() {
                [first, second] => TokenIds::Two(ids(first), ids(second)),
                _ => TokenIds::One(tokens.iter().flat_map(ids).collect()),
            },
            label: bytes[self.labels.start + index],
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide.copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}
