//! One file out of a zip archive: stored or deflated, as every tool packs it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::CrcWriter;
use flate2::bufread::DeflateDecoder;

use crate::archive::{COPY, copy_all, inside, start_of};
use crate::atomic::folder_of;
use crate::problem::FileProblem;
use crate::read_at::{Section, read_at};
use crate::release::temporary;
use crate::{DatasetError, foreign};

/// How a zip begins: the header of its first file.
pub(crate) const MAGIC: [u8; 4] = *b"PK\x03\x04";
const LOCAL: usize = 30;
const ENTRY: usize = 46;
const END: usize = 22;
/// A comment may follow the end.
const COMMENT: u64 = 0xffff;

/// What the list at an archive's end says of a file.
struct Entry {
    is_encrypted: bool,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    header: u64,
}

/// The file of a name, which has `size` bytes, in a temporary file beside the archive.
///
/// # Errors
/// [`FileProblem::NotArchive`] for another file, [`FileProblem::Missing`] for an archive without the
/// file, [`FileProblem::Length`], [`FileProblem::Archive`] for a damaged or cut-off archive.
pub(crate) fn unzipped(archive: &Path, name: &str, size: u64) -> Result<File, DatasetError> {
    let mut file = File::open(archive).map_err(DatasetError::io("open", archive))?;
    let start = start_of(&mut file).map_err(DatasetError::io("read", archive))?;
    if !start.starts_with(&MAGIC) {
        let found = foreign::described(&start);
        return Err(DatasetError::bad_file(archive)(FileProblem::NotArchive(
            found,
        )));
    }
    let damaged = |cause: &str| {
        let problem = FileProblem::Archive(cause.to_owned());
        DatasetError::bad_file(archive)(problem)
    };
    let read = |cause: io::Error| match cause.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => DatasetError::io("read", archive)(cause),
    };
    let length = file.metadata().map_err(DatasetError::io("read", archive))?;
    let length = length.len();
    let list = list(&file, length).map_err(read)?;
    let list = list.ok_or_else(|| damaged("it ends too early"))?;
    let entry = find(&list, name)
        .ok_or_else(|| DatasetError::bad_file(archive)(FileProblem::Missing(name.to_owned())))?;
    if entry.is_encrypted || !matches!(entry.method, 0 | 8) {
        return Err(damaged("it is encrypted, or packed in an unusual way"));
    }
    if entry.size != size {
        let wanted = format!("{name} has {size}");
        let found = entry.size;
        let path = inside(archive, name);
        return Err(DatasetError::bad_file(&path)(FileProblem::Length {
            found,
            wanted,
        }));
    }
    let mut header = [0; LOCAL];
    read_at(&file, &mut header, entry.header).map_err(read)?;
    // Its own fields may be empty, and its name and extra field differ in length from the list's.
    let start = entry.header
        + LOCAL as u64
        + u64::from(u16_at(&header, 26))
        + u64::from(u16_at(&header, 28));
    let end = start + entry.packed;
    if !header.starts_with(&MAGIC) || end > length {
        return Err(damaged("its list of files is wrong"));
    }
    let packed = BufReader::with_capacity(1 << 18, Section::new(Arc::new(file), start..end));
    let contents: Box<dyn Read> = match entry.method {
        0 => Box::new(packed),
        _ => Box::new(DeflateDecoder::new(packed)),
    };
    let (copy, into) = temporary(folder_of(archive))?;
    let mut copy = CrcWriter::new(BufWriter::with_capacity(1 << 20, copy));
    // One byte more than there should be tells whether there are too many.
    let written = copy_all(&mut contents.take(size + 1), archive, &mut copy, &into)?;
    if written != size || copy.crc().sum() != entry.crc {
        return Err(damaged(&format!("{name} is not what its checksum says")));
    }
    copy.flush().map_err(DatasetError::io(COPY, &into))?;
    let copy = copy.into_inner().into_inner();
    copy.map_err(|error| DatasetError::io(COPY, &into)(error.into_error()))
}

/// The list of files; `None` where the archive's end is missing.
fn list(file: &File, length: u64) -> io::Result<Option<Vec<u8>>> {
    let tail = length.min(END as u64 + COMMENT);
    let mut bytes = vec![0; tail as usize];
    read_at(file, &mut bytes, length - tail)?;
    let mut ends = bytes.windows(END).rev();
    let Some(end) = ends.find(|end| end.starts_with(b"PK\x05\x06")) else {
        return Ok(None);
    };
    let (size, start) = (u32_at(end, 12), u32_at(end, 16));
    if u64::from(start) + u64::from(size) > length {
        return Ok(None);
    }
    let mut list = vec![0; size as usize];
    read_at(file, &mut list, start.into())?;
    Ok(Some(list))
}

/// What the list says of a file.
fn find(mut list: &[u8], name: &str) -> Option<Entry> {
    while list.starts_with(b"PK\x01\x02") && list.len() >= ENTRY {
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(list, at)));
        let next = ENTRY + lengths.iter().sum::<usize>();
        if list.get(ENTRY..ENTRY + lengths[0]) == Some(name.as_bytes()) {
            return Some(Entry {
                is_encrypted: u16_at(list, 8) & 1 == 1,
                method: u16_at(list, 10),
                crc: u32_at(list, 16),
                packed: u32_at(list, 20).into(),
                size: u32_at(list, 24).into(),
                header: u32_at(list, 42).into(),
            });
        }
        list = list.get(next..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
