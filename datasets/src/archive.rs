//! Files in tar archives, gzipped or not, read where they lie.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::DatasetError;
use crate::problem::FileProblem;

/// No file of the tasks' archives is larger; a damaged archive may say otherwise.
const LARGEST: u64 = 256 << 20;

/// Visits the regular files of a tar archive in order, until told to stop.
///
/// Which files are wanted is asked first, with the file's path in the archive; others are passed
/// over. An archive that was visited to its end was whole: gzip's checksum is looked at.
///
/// # Errors
/// [`FileProblem::Archive`] for a damaged or cut-off archive, and what `visit` returns.
pub(crate) fn each_file(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
    mut visit: impl FnMut(&str, Vec<u8>) -> Result<ControlFlow<()>, DatasetError>,
) -> Result<(), DatasetError> {
    let mut file = File::open(path).map_err(DatasetError::io("open", path))?;
    let mut magic = [0; 2];
    let is_gzip = match file.read_exact(&mut magic) {
        Ok(()) => magic == [0x1f, 0x8b],
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(DatasetError::bad_file(path)(FileProblem::Empty));
        }
        Err(cause) => return Err(DatasetError::io("read", path)(cause)),
    };
    file.rewind().map_err(DatasetError::io("read", path))?;
    let file = BufReader::with_capacity(1 << 18, file);
    let mut reader: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let damaged = damaged(path);
    let mut archive = tar::Archive::new(&mut reader);
    for entry in archive.entries().map_err(&damaged)? {
        let mut entry = entry.map_err(&damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name);
        if !wanted(name) {
            continue;
        }
        if entry.size() > LARGEST {
            let cause = format!("{name} would have {} bytes", entry.size());
            return Err(DatasetError::bad_file(path)(FileProblem::Archive { cause }));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(&damaged)?;
        if bytes.len() as u64 != entry.size() {
            let cause = format!("{name} ends too early");
            return Err(DatasetError::bad_file(path)(FileProblem::Archive { cause }));
        }
        if visit(name, bytes)?.is_break() {
            return Ok(());
        }
    }
    io::copy(&mut reader, &mut io::sink()).map_err(&damaged)?;
    Ok(())
}

/// A file in an archive, for messages.
pub(crate) fn inside(archive: &Path, name: &str) -> PathBuf {
    archive.join(name)
}

fn damaged(path: &Path) -> impl Fn(io::Error) -> DatasetError {
    move |cause| match cause.raw_os_error() {
        // The disk's word, not the decoder's.
        Some(_) => DatasetError::io("read", path)(cause),
        None => DatasetError::bad_file(path)(FileProblem::Archive {
            cause: cause.to_string(),
        }),
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
