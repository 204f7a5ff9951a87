//! Reading gzip: one member after the other, as every tool does.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// How gzip begins.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The contents of all members of a gzip stream.
///
/// Zeros may follow the last one: tapes and some mirrors fill up their blocks with them. Anything
/// else is an error.
pub(crate) struct Gunzip<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    pub fn new(compressed: R) -> Self {
        Self {
            member: Some(GzDecoder::new(compressed)),
        }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            // The member is whole, by its checksum.
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The next member, if one follows and not only zeros.
fn next_member<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut has_zeros = false;
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let is_all = zeros == bytes.len();
        has_zeros |= zeros > 0;
        rest.consume(zeros);
        if is_all {
            continue;
        }
        if has_zeros {
            let cause = "something other than zeros is behind its end";
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
        return Ok(Some(GzDecoder::new(rest)));
    }
}
