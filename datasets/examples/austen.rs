//! Writes Jane Austen's six novels, which are in the public domain, as one text of 4 MB to train a
//! language model on: plain ASCII, 80 different characters. They come from the R package
//! `janeaustenr`, which Debian has, too:
//!
//! ```sh
//! apt-get download r-cran-janeaustenr && dpkg -x r-cran-janeaustenr_*.deb janeaustenr
//! cargo run --release --example austen -- \
//!     janeaustenr/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb data/austen.txt
//! ```

use std::error::Error;
use std::fs;
use std::io::Read;

use flate2::bufread::ZlibDecoder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("name Rdata.rdb of janeaustenr, and the file to write".into());
    };
    let packed = fs::read(from)?;
    let mut packed = packed.as_slice();
    let mut text = String::new();
    // A novel is a vector of lines, behind the number of its bytes.
    while packed.len() > 4 {
        let mut decoder = ZlibDecoder::new(&packed[4..]);
        let mut object = Vec::new();
        decoder.read_to_end(&mut object)?;
        packed = decoder.into_inner();
        for line in lines(&object).ok_or("this is no vector of text as R writes it")? {
            text += line.trim_end();
            text.push('\n');
        }
        text.push('\n');
    }
    let mut text = text.trim_end().replace('£', "L") + "\n";
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    fs::write(to, text)?;
    Ok(())
}

/// The strings of a vector in R's binary format, version 3 (R Internals, section 1.8).
fn lines(object: &[u8]) -> Option<Vec<&str>> {
    // Format, three versions, and the name of an encoding.
    let mut rest = object.strip_prefix(b"X\n")?.get(12..)?;
    let name = number(&mut rest)?;
    rest = rest.get(name..)?;
    // The type of a vector of strings.
    (number(&mut rest)? & 0xff == 16).then_some(())?;
    let count = number(&mut rest)?;
    let mut lines = Vec::new();
    for _ in 0..count {
        (number(&mut rest)? & 0xff == 9).then_some(())?;
        let length = number(&mut rest)?;
        let (line, behind) = rest.split_at_checked(length)?;
        lines.push(std::str::from_utf8(line).ok()?);
        rest = behind;
    }
    Some(lines)
}

/// A big-endian number of four bytes, taken off the front.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}
