//! Downloading what has a public address: resumable, checked, never half a file under its name.
//!
//! Where nothing can be downloaded, the readers take a path, and the generators make ListOps and
//! Pathfinder from nothing.

mod download;
mod transfer;
mod unpack;
mod verify;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use download::Download;
pub use unpack::unpack;

use crate::DatasetError;
use crate::atomic::{lock, sync_folder};
use crate::names::affixed;
use crate::printable::{on_one_line, shown};

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Bytes that were downloaded now: fewer than the size where an earlier download went on, none
    /// where the file was there.
    pub downloaded: u64,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server knows no such file, or refuses it.
    #[error(
        "the server answers {status} for {url}: {}. Look for the file by hand at {page}, put it \
         at {}, and run the same command again; or name another copy with --data",
        match .status { 401 | 403 => "it gives the file to nobody, or not to you", _ => "the file is not there any more" },
        shown(.path)
    )]
    Refused {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// Where a person can look for the file.
        page: String,
        /// Where the file belongs.
        path: PathBuf,
    },

    /// The server answers with an error of its own, or can't be reached.
    #[error(
        "cannot download {url}: {}. {kept} bytes are kept: run the same command again later \
         to go on, or download the file by hand from {page} to {}", on_one_line(.cause), shown(.path)
    )]
    Connection {
        /// The address.
        url: String,
        /// What happened at the last attempt.
        cause: String,
        /// Bytes of the file that are on the disk.
        kept: u64,
        /// Where a person can look for the file.
        page: String,
        /// Where the file belongs.
        path: PathBuf,
    },

    /// The server has another file under the address.
    #[error(
        "{url} has {found} bytes, but {wanted} were published: the server has another file there, \
         perhaps a page that asks to log in. Look at {page} by hand"
    )]
    Size {
        /// The address.
        url: String,
        /// The size of the server's file.
        found: u64,
        /// The published size.
        wanted: u64,
        /// Where a person can look for the file.
        page: String,
    },

    /// The downloaded file is not the published one. It was removed.
    #[error(
        "what came from {url} is damaged: {cause}. It was removed: run the same command again, or \
         download the file by hand from {page}"
    )]
    Damaged {
        /// The address.
        url: String,
        /// What is wrong with it.
        cause: String,
        /// Where a person can look for the file.
        page: String,
    },

    /// A file of that name is there already, and isn't the published one.
    #[error("{} is there, but is not the published file: {cause}. Move or delete it, and run the \
             same command again", shown(.path))]
    InTheWay {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },

    /// The caller's cancel check said stop.
    #[error("stopped: {kept} bytes are kept in {}. Run the same command again to go on", shown(.part))]
    Stopped {
        /// The file so far.
        part: PathBuf,
        /// Its size.
        kept: u64,
    },

    /// The file system refused, or another process is at it.
    #[error(transparent)]
    Files(#[from] DatasetError),
}

/// Downloads a file into a folder, or continues an earlier download.
///
/// The file grows as `<name>.part` and takes its name when it is complete: when it has the
/// published size and SHA-256 where they are known, and is a whole gzip archive otherwise. A file
/// that is there already is checked in the same way, and not downloaded again.
///
/// `progress` is told how many bytes of how many (if the server says so) there are; `cancelled` is
/// asked several times a second whether to stop.
///
/// # Errors
/// See [`FetchError`]. What was downloaded is kept for the next call, unless it is damaged.
pub fn fetch(
    source: &Download,
    dir: &Path,
    progress: &dyn Fn(u64, Option<u64>),
    cancelled: &dyn Fn() -> bool,
) -> Result<Fetched, FetchError> {
    let path = dir.join(&source.file_name);
    if path.exists() {
        let bytes = size(&path)?;
        progress(bytes, Some(bytes));
        return match verify::verify(&path, source)? {
            None => Ok(Fetched {
                path,
                bytes,
                downloaded: 0,
            }),
            Some(cause) => Err(FetchError::InTheWay { path, cause }),
        };
    }
    fs::create_dir_all(dir).map_err(DatasetError::io("create", dir))?;
    let part = dir.join(affixed("", source.file_name.as_ref(), ".part"));
    let file = File::options()
        .create(true)
        .append(true)
        .open(&part)
        .map_err(DatasetError::io("open", &part))?;
    if !lock(&file).map_err(DatasetError::io("lock", &part))? {
        return Err(FetchError::Files(DatasetError::Busy {
            dir: dir.to_owned(),
            lock: part,
        }));
    }
    let mut transfer = transfer::Transfer {
        source,
        path: &path,
        part: &part,
        file,
        progress,
        cancelled,
    };
    let downloaded = transfer.run()?;
    let synced = transfer.file.sync_all();
    synced.map_err(DatasetError::io("write", &part))?;
    if let Some(cause) = verify::verify(&part, source)? {
        fs::remove_file(&part).map_err(DatasetError::io("remove", &part))?;
        return Err(FetchError::Damaged {
            url: source.url.clone(),
            cause,
            page: source.page.clone(),
        });
    }
    fs::rename(&part, &path).map_err(DatasetError::io("create", &path))?;
    sync_folder(dir);
    Ok(Fetched {
        bytes: size(&path)?,
        path,
        downloaded,
    })
}

fn size(path: &Path) -> Result<u64, DatasetError> {
    let file = fs::metadata(path).map_err(DatasetError::io("read", path))?;
    Ok(file.len())
}
