//! Files in tar archives, gzipped or not, read where they lie.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::gzip::{self, Gunzip};
use crate::problem::FileProblem;
use crate::side::is_side;
use crate::{DatasetError, foreign};

/// No file of the tasks' archives is larger; a damaged archive may say otherwise.
const LARGEST: u64 = 256 << 20;

/// What fails where an archive's files can't be written.
pub(crate) const COPY: &str = "copy files of the archive to";

/// A regular file in an archive, to be read once.
pub(crate) struct Entry<'a> {
    archive: &'a Path,
    name: &'a str,
    /// How many bytes it has.
    pub size: u64,
    reader: &'a mut dyn Read,
}

impl Entry<'_> {
    /// All of it, in memory.
    pub fn bytes(self) -> Result<Vec<u8>, DatasetError> {
        if self.size > LARGEST {
            let cause = format!("{} would have {} bytes", self.name, self.size);
            return Err(DatasetError::bad_file(self.archive)(FileProblem::Archive(
                cause,
            )));
        }
        let mut bytes = Vec::new();
        let read = self.reader.read_to_end(&mut bytes);
        read.map_err(damaged(self.archive))?;
        self.ended(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Writes it to a file in the folder `into`, a piece at a time; how many bytes were written.
    pub fn copy_to(self, copy: &mut impl Write, into: &Path) -> Result<u64, DatasetError> {
        let length = copy_all(self.reader, self.archive, copy, into)?;
        self.ended(length)?;
        Ok(length)
    }

    fn ended(&self, length: u64) -> Result<(), DatasetError> {
        if length == self.size {
            return Ok(());
        }
        let cause = format!("{} ends too early", self.name);
        Err(DatasetError::bad_file(self.archive)(FileProblem::Archive(
            cause,
        )))
    }
}

/// Copies what comes out of a compressed file or an archive to a file in the folder `into`, a piece at
/// a time; how many bytes that were.
pub(crate) fn copy_all(
    reader: &mut (impl Read + ?Sized),
    from: &Path,
    copy: &mut impl Write,
    into: &Path,
) -> Result<u64, DatasetError> {
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let read = reader.read(&mut buffer).map_err(damaged(from))?;
        if read == 0 {
            return Ok(length);
        }
        copy.write_all(&buffer[..read])
            .map_err(DatasetError::io(COPY, into))?;
        length += read as u64;
    }
}

/// Visits the regular files of a tar archive in order, until told to stop, each in memory; how many
/// side files were passed over.
///
/// # Errors
/// As [`each_entry`].
pub(crate) fn each_file(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
    mut visit: impl FnMut(&str, Vec<u8>) -> Result<ControlFlow<()>, DatasetError>,
) -> Result<usize, DatasetError> {
    each_entry(path, &|_| Ok(()), wanted, |name, entry| {
        visit(name, entry.bytes()?)
    })
}

/// Visits the regular files of a tar archive in order, until told to stop.
///
/// Which files are wanted is asked first, with the file's path in the archive; others are passed
/// over, and so are side files, whose number is returned. An archive that was visited to its end was
/// whole: gzip's checksum is looked at, and tar's end where it is not gzipped. `watch` is told how
/// many bytes of the archive were read; its error ends the visit.
///
/// # Errors
/// [`FileProblem::NotArchive`] for another file, [`FileProblem::Archive`] for a damaged or cut-off
/// archive, and what `visit` returns.
pub(crate) fn each_entry(
    path: &Path,
    watch: &dyn Fn(u64) -> io::Result<()>,
    mut wanted: impl FnMut(&str) -> bool,
    mut visit: impl FnMut(&str, Entry) -> Result<ControlFlow<()>, DatasetError>,
) -> Result<usize, DatasetError> {
    let damaged = damaged(path);
    let mut file = File::open(path).map_err(DatasetError::io("open", path))?;
    let start = start_of(&mut file).map_err(DatasetError::io("read", path))?;
    file.rewind().map_err(DatasetError::io("read", path))?;
    let is_gzip = start.starts_with(&gzip::MAGIC);
    let file = Watched {
        file,
        read: 0,
        watch,
    };
    let file = BufReader::with_capacity(1 << 18, file);
    let (start, mut reader): (_, Box<dyn Read>) = if is_gzip {
        let mut contents = Gunzip::new(file);
        let start = start_of(&mut contents).map_err(&damaged)?;
        (
            start.clone(),
            Box::new(io::Cursor::new(start).chain(contents)),
        )
    } else {
        (start, Box::new(file))
    };
    refuse_foreign(&start).map_err(DatasetError::bad_file(path))?;
    let mut side_files = 0;
    let mut archive = tar::Archive::new(&mut reader);
    for entry in archive.entries().map_err(&damaged)? {
        let mut entry = entry.map_err(&damaged)?;
        let kind = entry.header().entry_type();
        let is_link = kind.is_hard_link() || kind.is_symlink() || kind.is_gnu_sparse();
        if !kind.is_file() && !is_link {
            continue;
        }
        let bytes = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&bytes);
        if is_side(&name) {
            side_files += 1;
            continue;
        }
        let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
        let name = &parts.collect::<Vec<_>>().join("/");
        if !wanted(name) {
            continue;
        }
        if is_link {
            let name = name.clone();
            return Err(DatasetError::bad_file(path)(FileProblem::Link(name)));
        }
        // Two of them could look the same.
        if !matches!(String::from_utf8_lossy(&bytes), Cow::Borrowed(_)) {
            let name = name.clone();
            return Err(DatasetError::bad_file(path)(FileProblem::NameNotUtf8(name)));
        }
        let entry = Entry {
            archive: path,
            name,
            size: entry.size(),
            reader: &mut entry,
        };
        if visit(name, entry)?.is_break() {
            return Ok(side_files);
        }
    }
    io::copy(&mut reader, &mut io::sink()).map_err(&damaged)?;
    if !is_gzip && !has_end(path)? {
        let cause = "it ends too early".to_owned();
        return Err(DatasetError::bad_file(path)(FileProblem::Archive(cause)));
    }
    Ok(side_files)
}

/// A block of a tar.
const BLOCK: usize = 512;

/// What is at the start of a file, a block of a tar at most.
pub(crate) fn start_of(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(BLOCK);
    reader.take(BLOCK as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Says what a file is that is no tar, before a decoder repeats what is in it.
fn refuse_foreign(start: &[u8]) -> Result<(), FileProblem> {
    // Fewer bytes are one that was cut off, which the decoder says.
    let may_be_tar = !start.is_empty() && (start.len() < BLOCK || is_tar(start));
    if may_be_tar && foreign::kind(start).is_none() {
        return Ok(());
    }
    let found = foreign::described(start);
    Err(FileProblem::NotArchive(found))
}

/// Whether a tar begins with this block: it holds its own sum, or only zeros, which end it.
fn is_tar(block: &[u8]) -> bool {
    let field = 148..156;
    let sum: u32 = (0..)
        .zip(block)
        .map(|(at, &byte)| match field.contains(&at) {
            true => u32::from(b' '),
            false => u32::from(byte),
        })
        .sum();
    let stored = std::str::from_utf8(&block[field]).unwrap_or_default();
    let stored = stored.trim_matches([' ', '\0']);
    u32::from_str_radix(stored, 8) == Ok(sum) || block.iter().all(|&byte| byte == 0)
}

/// Whether a tar ends with a block of zeros, as all do. One that was cut off between two files is
/// like a whole one otherwise.
fn has_end(path: &Path) -> Result<bool, DatasetError> {
    let mut block = [1; BLOCK];
    let mut file = File::open(path).map_err(DatasetError::io("open", path))?;
    let read = file
        .seek(io::SeekFrom::End(-(BLOCK as i64)))
        .and_then(|_| file.read_exact(&mut block));
    read.map_err(damaged(path))?;
    Ok(block == [0; BLOCK])
}

/// A file that reports how much of it was read.
struct Watched<'a> {
    file: File,
    read: u64,
    watch: &'a dyn Fn(u64) -> io::Result<()>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        (self.watch)(self.read)?;
        Ok(read)
    }
}

/// A file in an archive, for messages.
pub(crate) fn inside(archive: &Path, name: &str) -> PathBuf {
    archive.join(name)
}

fn damaged(path: &Path) -> impl Fn(io::Error) -> DatasetError {
    move |cause| match cause.raw_os_error() {
        // The disk's word, not the decoder's.
        Some(_) => DatasetError::io("read", path)(cause),
        None => DatasetError::bad_file(path)(FileProblem::Archive(cause.to_string())),
    }
}

/// Whether a file is named like an archive that [`each_file`] reads.
pub(crate) fn is_archive(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase());
    let ends = [".tar.gz", ".tgz", ".tar"];
    name.is_some_and(|name| ends.iter().any(|end| name.ends_with(end))) && path.is_file()
}
