//! Unpacking a folder of an archive, for readers that need files.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::DatasetError;
use crate::problem::FileProblem;

/// Unpacks the files of an archive (`.tar.gz`) whose path has a folder of the given name, such as
/// `tsv_data` in `lra_release.gz`, below `dir`, under their paths in the archive. How many files.
///
/// Each file appears when it is complete; files that are there with the right size are kept.
/// `progress` is told how many bytes of files were written; `cancelled` is asked several times a
/// second.
///
/// # Errors
/// [`DatasetError::BadFile`] for a damaged archive, or one without such files,
/// [`DatasetError::Stopped`], [`DatasetError::Io`].
pub fn unpack(
    archive: &Path,
    folder: &str,
    dir: &Path,
    progress: &dyn Fn(u64),
    cancelled: &dyn Fn() -> bool,
) -> Result<usize, DatasetError> {
    let damaged = |cause: io::Error| match cause.raw_os_error() {
        Some(_) => DatasetError::io("read", archive)(cause),
        None => DatasetError::bad_file(archive)(FileProblem::Archive {
            cause: cause.to_string(),
        }),
    };
    let file = File::open(archive).map_err(DatasetError::io("open", archive))?;
    let mut reader = MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file));
    let mut tar = tar::Archive::new(&mut reader);
    let (mut files, mut bytes) = (0, 0);
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        let is_wanted = name
            .parent()
            .is_some_and(|p| p.iter().any(|part| part == folder));
        if !entry.header().entry_type().is_file() || !is_wanted {
            continue;
        }
        let Some(path) = below(dir, &name) else {
            let cause = format!("{} leads out of the folder", name.display());
            return Err(DatasetError::bad_file(archive)(FileProblem::Archive {
                cause,
            }));
        };
        files += 1;
        let size = entry.size();
        if fs::metadata(&path).is_ok_and(|file| file.len() == size) {
            continue;
        }
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(DatasetError::io("create", parent))?;
        let part = path.with_extension("part");
        let mut target = File::create(&part).map_err(DatasetError::io("create", &part))?;
        let mut buffer = vec![0; 1 << 18];
        let mut written = 0;
        loop {
            if cancelled() {
                let _ = fs::remove_file(&part);
                return Err(DatasetError::Stopped {
                    folder: dir.to_owned(),
                });
            }
            let read = entry.read(&mut buffer).map_err(damaged)?;
            if read == 0 {
                break;
            }
            target
                .write_all(&buffer[..read])
                .map_err(DatasetError::io("write", &part))?;
            written += read as u64;
            bytes += read as u64;
            progress(bytes);
        }
        if written != size {
            let _ = fs::remove_file(&part);
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        target
            .sync_all()
            .and_then(|()| fs::rename(&part, &path))
            .map_err(DatasetError::io("write", &path))?;
    }
    if files == 0 {
        let name = format!("{folder}/");
        return Err(DatasetError::bad_file(archive)(FileProblem::Missing {
            name,
        }));
    }
    Ok(files)
}

/// A path below a folder, unless it leads out of it.
fn below(dir: &Path, name: &Path) -> Option<PathBuf> {
    let mut path = dir.to_owned();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}
