//! Packing samples, some at a time, so that never all are in memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use super::format::{HEADER, MAGIC};
use crate::staging::sync_folder;
use crate::{DatasetError, Sample, Samples};

/// Samples that are read, in parallel, before they are written.
const BLOCK: usize = 512;

/// Packs what `open` gives, which is called once there is a file to write to.
pub(super) fn write<D: Samples>(
    path: &Path,
    key: &str,
    first_id: u16,
    open: impl FnOnce() -> Result<D, DatasetError>,
    progress: &dyn Fn(usize, usize),
    cancelled: &dyn Fn() -> bool,
) -> Result<(), DatasetError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(DatasetError::io("create", folder))?;
    remove_abandoned(path);
    // Of this call alone: of two that pack the same, the later one's file stays.
    let (hidden, file) = create_hidden(path)?;
    let written = open().and_then(|data| {
        let mut writer = Writer::new(&hidden, file, key, first_id)?;
        let count = data.len();
        for start in (0..count).step_by(BLOCK) {
            if cancelled() {
                return Err(DatasetError::Cancelled);
            }
            progress(start, count);
            let block = (start..(start + BLOCK).min(count)).into_par_iter();
            let samples = block
                .map(|index| data.get(index))
                .collect::<Result<Vec<_>, _>>();
            for sample in samples.map_err(DatasetError::Read)? {
                writer.push(&sample)?;
            }
        }
        progress(count, count);
        writer.finish(data.left_out())
    });
    let renamed = written.and_then(|_file| {
        fs::rename(&hidden, path).map_err(DatasetError::io("create", path))?;
        sync_folder(folder);
        Ok(())
    });
    if renamed.is_err() {
        let _ = fs::remove_file(&hidden);
        if is_new {
            // Unless somebody else has put something into it.
            let _ = fs::remove_dir(folder);
        }
    }
    renamed
}

/// A new file beside `path`, locked until it is closed, or the process is gone.
///
/// Other processes may be in other containers, where process numbers are the same. No name is used
/// twice, so that one which is there is this file's.
fn create_hidden(path: &Path) -> Result<(PathBuf, File), DatasetError> {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanoseconds = now.map_or(0, |now| now.as_nanos() as u64);
        let number = nanoseconds ^ (u64::from(std::process::id()) << 40);
        let hidden = path.with_extension(format!("{number}.partial"));
        let file = match File::create_new(&hidden) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(cause) => return Err(DatasetError::io("create", &hidden)(cause)),
        };
        // Where a file system has no locks, what a kill leaves stays.
        let _ = file.lock();
        // Before it was locked, another process may have taken it for abandoned.
        if hidden.exists() {
            return Ok((hidden, file));
        }
    }
}

/// Removes what killed processes left behind of this file: nobody holds a lock on it any more.
fn remove_abandoned(path: &Path) {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else {
        return;
    };
    let (Ok(entries), Some(stem)) = (fs::read_dir(folder), stem.to_str()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| {
            let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
            rest.strip_suffix(".partial")
        });
        let ours = number.is_some_and(|number| number.parse::<u64>().is_ok());
        if ours
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // Still locked: see `create_hidden`.
            let _ = fs::remove_file(entry.path());
        }
    }
}

struct Writer<'a> {
    path: &'a Path,
    file: BufWriter<File>,
    key: &'a str,
    first_id: u16,
    documents: usize,
    labels: Vec<u8>,
    ends: Vec<u64>,
    tokens: u64,
}

impl<'a> Writer<'a> {
    fn new(path: &'a Path, file: File, key: &'a str, first_id: u16) -> Result<Self, DatasetError> {
        let mut writer = Self {
            path,
            file: BufWriter::with_capacity(1 << 20, file),
            key,
            first_id,
            documents: 1,
            labels: Vec::new(),
            ends: Vec::new(),
            tokens: 0,
        };
        // The header follows when everything is known.
        writer.put(&[0; HEADER])?;
        writer.put(key.as_bytes())?;
        Ok(writer)
    }

    fn push(&mut self, sample: &Sample) -> Result<(), DatasetError> {
        self.documents = sample.documents.count();
        let mut stored = Vec::with_capacity(sample.documents.token_count());
        for document in sample.documents.iter() {
            for &id in document {
                stored.push(self.stored(id)?);
            }
            self.tokens += document.len() as u64;
            self.ends.push(self.tokens);
        }
        self.labels.push(sample.label);
        self.put(&stored)
    }

    /// The byte of an id: 256 ids can be stored.
    fn stored(&self, id: u16) -> Result<u8, DatasetError> {
        let above = id.checked_sub(self.first_id);
        let byte = above.and_then(|id| u8::try_from(id).ok());
        byte.ok_or(DatasetError::IdRange {
            id,
            first: self.first_id,
        })
    }

    /// The file, complete and on the disk; locked until it is dropped.
    fn finish(mut self, left_out: usize) -> Result<File, DatasetError> {
        let labels = std::mem::take(&mut self.labels);
        self.put(&labels)?;
        let ends: Vec<u8> = self.ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        self.put(&ends)?;
        let mut header = MAGIC.to_vec();
        let numbers = [
            self.key.len() as u64,
            labels.len() as u64,
            self.documents as u64,
            u64::from(self.first_id),
            self.tokens,
            left_out as u64,
        ];
        header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let failed = || DatasetError::io("write", self.path);
        self.file.rewind().map_err(failed())?;
        self.file.write_all(&header).map_err(failed())?;
        let file = self.file.into_inner();
        let file = file.map_err(|error| failed()(error.into_error()))?;
        file.sync_all().map_err(failed())?;
        Ok(file)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DatasetError> {
        self.file
            .write_all(bytes)
            .map_err(DatasetError::io("write", self.path))
    }
}
