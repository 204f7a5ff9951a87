//! The files of a checkpoint, whichever kind of run it is of: written in one piece, with the SHA-256 of
//! each in `state.json`; and finding the newest checkpoint that is whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::store::RecordError;
use burn::tensor::Bytes;
use burn::train::checkpoint::Checkpoint as Record;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use transformer_ls_infer::run::{
    Checkpoint, CheckpointWriter, Configuration, Folder, write_atomically,
};
use transformer_ls_infer::weights_file::sha256;

use super::error::TrainError;

const BEST: &str = "best.safetensors";
const STATE: &str = "state.json";

#[derive(Serialize, Deserialize)]
pub(super) struct StateFile<S> {
    pub(super) format: u32,
    #[serde(flatten)]
    pub(super) state: S,
    /// SHA-256 of the other files, by name.
    pub(super) files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A checkpoint that is being written.
pub(crate) struct Sealing {
    writer: CheckpointWriter,
    files: BTreeMap<String, String>,
}

impl Sealing {
    /// Begins the checkpoint of a step. Earlier ones are untouched if it is never finished.
    pub(crate) fn begin<C: Configuration>(
        folder: &Folder<C>,
        step: usize,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            writer: folder.begin_checkpoint(step)?,
            files: BTreeMap::new(),
        })
    }

    /// Adds a file.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.writer.path().join(name);
        fs::write(&path, bytes).map_err(|cause| TrainError::Write { path, cause })?;
        self.files.insert(name.to_owned(), sha256(bytes));
        Ok(())
    }

    /// Adds one of Burn's records.
    pub(crate) fn put_record(
        &mut self,
        name: &str,
        bytes: Result<Bytes, RecordError>,
    ) -> Result<(), TrainError> {
        let bytes = bytes.map_err(|error| TrainError::Internal(error.to_string()))?;
        self.put(name, &bytes)
    }

    /// Adds the best weights so far, so that a kill between a new best and the next checkpoint can
    /// neither lose nor mistake them.
    pub(crate) fn put_best(&mut self, weights: PathBuf) -> Result<(), TrainError> {
        let bytes = fs::read(&weights).map_err(|cause| TrainError::Read {
            path: weights,
            cause,
        })?;
        self.put(BEST, &bytes)
    }

    /// Adds the state, and gives the checkpoint its name.
    pub(crate) fn commit<S: Serialize>(self, format: u32, state: &S) -> Result<(), TrainError> {
        let file = StateFile {
            format,
            state,
            files: self.files,
        };
        let json = serde_json::to_vec_pretty(&file)
            .map_err(|error| TrainError::Internal(error.to_string()))?;
        let path = self.writer.path().join(STATE);
        fs::write(&path, json).map_err(|cause| TrainError::Write { path, cause })?;
        self.writer.commit()?;
        Ok(())
    }
}

/// Why a checkpoint can't be used.
pub(crate) enum Unusable {
    /// It is not what was written.
    Damaged(String),
    /// Another version wrote it.
    Foreign(String),
    /// The system does not give a file that is there.
    Unread {
        path: PathBuf,
        cause: std::io::Error,
    },
}

/// A checkpoint to be read.
pub(crate) struct Sealed<S> {
    path: PathBuf,
    file: StateFile<S>,
}

impl<S: DeserializeOwned> Sealed<S> {
    /// Reads the state, which has to be of one of these formats.
    pub(crate) fn open(path: &Path, formats: &[u32]) -> Result<Self, Unusable> {
        let state = load(path, STATE)?;
        let unparsed = |error: serde_json::Error| damaged(path, STATE, &error.to_string());
        // Alone: the other fields depend on it.
        let Format { format } = serde_json::from_slice(&state).map_err(unparsed)?;
        if !formats.contains(&format) {
            let known: Vec<String> = formats.iter().map(u32::to_string).collect();
            return Err(Unusable::Foreign(format!(
                "{} has format {format}, this version reads {}",
                path.join(STATE).display(),
                known.join(" and ")
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file: serde_json::from_slice(&state).map_err(unparsed)?,
        })
    }

    pub(crate) fn format(&self) -> u32 {
        self.file.format
    }

    pub(crate) fn state(&self) -> &S {
        &self.file.state
    }

    pub(crate) fn into_state(self) -> S {
        self.file.state
    }

    /// Whether the checkpoint has such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.files.contains_key(name)
    }

    /// A file's bytes, which are what was written.
    pub(crate) fn bytes(&self, name: &str) -> Result<Bytes, Unusable> {
        let bytes = load(&self.path, name)?;
        if self.file.files.get(name) != Some(&sha256(&bytes)) {
            return Err(self.damaged(name, "its SHA-256 is not the recorded one"));
        }
        Ok(Bytes::from_bytes_vec(bytes))
    }

    /// One of Burn's records.
    pub(crate) fn record<R: Record>(&self, name: &str) -> Result<R, Unusable> {
        self.as_record(name, self.bytes(name)?)
    }

    /// One of Burn's records, from its bytes.
    pub(crate) fn as_record<R: Record>(&self, name: &str, bytes: Bytes) -> Result<R, Unusable> {
        R::checkpoint_from_bytes(bytes).map_err(|error| self.damaged(name, &error.to_string()))
    }

    /// Makes sure that the state is of the step that the folder's name says, that its losses are
    /// numbers, and that the best weights are there if there are any.
    pub(crate) fn check(&self, is_step: bool, losses: f64, has_best: bool) -> Result<(), Unusable> {
        if !is_step {
            return Err(self.damaged_state("its step is not the folder's"));
        }
        if !losses.is_finite() {
            return Err(self.damaged_state("a loss is not a number"));
        }
        if has_best {
            self.bytes(BEST)?;
        }
        Ok(())
    }

    fn damaged_state(&self, what: &str) -> Unusable {
        self.damaged(STATE, what)
    }

    pub(crate) fn damaged(&self, name: &str, what: &str) -> Unusable {
        damaged(&self.path, name, what)
    }
}

fn load(checkpoint: &Path, name: &str) -> Result<Vec<u8>, Unusable> {
    let path = checkpoint.join(name);
    fs::read(&path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => Unusable::Damaged(format!("{} is missing", path.display())),
        _ => Unusable::Unread { path, cause },
    })
}

fn damaged(checkpoint: &Path, name: &str, what: &str) -> Unusable {
    let path = checkpoint.join(name);
    Unusable::Damaged(format!("{} is damaged ({what})", path.display()))
}

/// The newest checkpoint that can be used.
pub(crate) struct Newest<R> {
    /// What was read of it.
    pub(crate) read: R,
    /// Its folder.
    path: PathBuf,
    /// What was wrong with newer ones, if any.
    pub(crate) warnings: Vec<String>,
}

impl<R> Newest<R> {
    /// Makes `model.safetensors` what it was at the checkpoint.
    pub(crate) fn restore_best(&self, weights: &Path, has_best: bool) -> Result<(), TrainError> {
        if !has_best {
            // A best that came after the checkpoint will be found again.
            let _ = fs::remove_file(weights);
            return Ok(());
        }
        let best = self.path.join(BEST);
        let bytes = fs::read(&best).map_err(|cause| TrainError::Read { path: best, cause })?;
        if fs::read(weights).ok().as_deref() != Some(&bytes[..]) {
            write_atomically(weights, &bytes)?;
        }
        Ok(())
    }
}

/// The newest checkpoint that `read`, given its folder and step, can use; `None` if there is none at all.
///
/// Damaged newer ones are removed, since the run will write them again. One that the system cannot
/// read may be whole, and is kept.
///
/// # Errors
///
/// When there are checkpoints and none can be used, or when the newest can't be read.
pub(crate) fn newest<C: Configuration, R>(
    folder: &Folder<C>,
    read: impl Fn(&Path, usize) -> Result<R, Unusable>,
) -> Result<Option<Newest<R>>, TrainError> {
    let checkpoints = folder.checkpoints()?;
    let none_usable = |problem| TrainError::NoUsableCheckpoint {
        folder: folder.checkpoints_path(),
        problem,
        config: folder.config_path(),
    };
    let mut problems = Vec::new();
    for Checkpoint { step, path } in checkpoints.iter().rev() {
        match read(path, *step) {
            Ok(read) => {
                for damaged in checkpoints.iter().filter(|other| other.step > *step) {
                    let _ = fs::remove_dir_all(&damaged.path);
                }
                let warnings = problems
                    .iter()
                    .map(|problem| format!("{problem}: going on from step {step} instead"))
                    .collect();
                return Ok(Some(Newest {
                    read,
                    path: path.clone(),
                    warnings,
                }));
            }
            Err(Unusable::Damaged(problem)) => problems.push(problem),
            Err(Unusable::Unread { path, cause }) => return Err(TrainError::Read { path, cause }),
            Err(Unusable::Foreign(problem)) => return Err(none_usable(problem)),
        }
    }
    match problems.into_iter().next() {
        None => Ok(None),
        Some(problem) => Err(none_usable(problem)),
    }
}
