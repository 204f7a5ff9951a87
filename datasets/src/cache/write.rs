//! Packing samples, some at a time, so that never all are in memory.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use rayon::prelude::*;

use super::format::{HEADER, MAGIC};
use crate::atomic::{Unfinished, remove_abandoned};
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
    remove_abandoned(folder);
    // Of this call alone: of two that pack the same, the later one's file stays.
    let mut hidden = Unfinished::new(path).map_err(DatasetError::io("create", path))?;
    let written = open().and_then(|data| {
        let mut writer = Writer::new(path, hidden.file(), key, first_id)?;
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
    let finished =
        written.and_then(|()| hidden.finish(path).map_err(DatasetError::io("write", path)));
    if finished.is_err() && is_new {
        // Unless another process has put something into it.
        let _ = fs::remove_dir(folder);
    }
    finished
}

struct Writer<'a> {
    path: &'a Path,
    file: BufWriter<&'a mut File>,
    key: &'a str,
    first_id: u16,
    documents: usize,
    labels: Vec<u8>,
    ends: Vec<u64>,
    tokens: u64,
}

impl<'a> Writer<'a> {
    fn new(
        path: &'a Path,
        file: &'a mut File,
        key: &'a str,
        first_id: u16,
    ) -> Result<Self, DatasetError> {
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

    fn finish(mut self, left_out: usize) -> Result<(), DatasetError> {
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
        self.file.flush().map_err(failed())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DatasetError> {
        self.file
            .write_all(bytes)
            .map_err(DatasetError::io("write", self.path))
    }
}
