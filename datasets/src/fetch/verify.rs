//! Whether a file is the published one.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Download, size};
use crate::gzip::Gunzip;
use crate::printable::{hex, on_one_line};
use crate::{DatasetError, foreign, zip};

/// What is wrong with a file, if anything is.
pub(super) fn verify(path: &Path, source: &Download) -> Result<Option<String>, DatasetError> {
    let file = File::open(path).map_err(DatasetError::io("open", path))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let start = file.fill_buf().map_err(DatasetError::io("read", path))?;
    let is_zip = source.file_name.ends_with(".zip") && start.starts_with(&zip::MAGIC);
    if let Some(kind) = foreign::kind(start).filter(|_| !is_zip) {
        return Ok(Some(format!("it is {kind}")));
    }
    let found = size(path)?;
    if let Some(wanted) = source.bytes.filter(|&wanted| wanted != found) {
        return Ok(Some(format!("it has {found} bytes, not {wanted}")));
    }
    if let Some(wanted) = &source.sha256 {
        let mut hasher = Sha256::new();
        loop {
            let bytes = file.fill_buf().map_err(DatasetError::io("read", path))?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            let read = bytes.len();
            file.consume(read);
        }
        let found = hex(&hasher.finalize());
        return Ok((found != wanted.to_lowercase())
            .then(|| format!("its SHA-256 is {found}, but {wanted} was published")));
    }
    if source.file_name.ends_with(".gz") {
        let whole = io::copy(&mut Gunzip::new(file), &mut io::sink());
        return match whole {
            Ok(_) => Ok(None),
            Err(cause) if cause.raw_os_error().is_some() => {
                Err(DatasetError::io("read", path)(cause))
            }
            Err(cause) => {
                let cause = on_one_line(&cause.to_string());
                Ok(Some(format!("it is no whole gzip archive ({cause})")))
            }
        };
    }
    Ok(None)
}
