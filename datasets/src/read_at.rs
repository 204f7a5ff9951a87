//! Reading from a place in a file that several threads read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

/// Fills a buffer.
pub(crate) fn read_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match some_at(file, buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                at += read as u64;
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn some_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn some_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

/// A part of a file, read from its start.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    /// Where it starts.
    pub start: u64,
    at: u64,
    end: u64,
}

impl Section {
    pub fn new(file: Arc<File>, part: Range<u64>) -> Self {
        Self {
            file,
            start: part.start,
            at: part.start,
            end: part.end,
        }
    }

    /// Reads a piece, counted from the section's start.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        read_at(&self.file, buffer, self.start + at)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = some_at(&self.file, &mut buffer[..length], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
