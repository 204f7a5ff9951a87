//! Checkpoints on disk: everything that a run needs to continue.
//!
//! `checkpoint/<step>/` holds `model.bpk`, `optimizer.bpk`, `scheduler.bpk` (Burn's own
//! records), `best.safetensors` (the best weights so far, so that a kill between a new
//! best and the next checkpoint can neither lose nor mistake them), `average.bpk` where a
//! moving average of the weights is kept, and `state.json` with the SHA-256 of the others. The folder appears in one rename, and older ones are
//! pruned only after that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn::train::checkpoint::Checkpoint as Record;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::weights::renamed_record;
use transformer_ls_infer::run::{Checkpoint, RunFolder, null_as_nan, write_atomically};
use transformer_ls_infer::weights_file::sha256;

use super::error::TrainError;
use super::figures::Sums;
use super::handover::Records;
use super::model::TrainingModel;
use crate::optim::LossScale;

/// The layout of a checkpoint; a change that old code would misread raises it.
const FORMAT: u32 = 2;
/// The format in which records have the names from before attention was a part.
const BEFORE_PARTS: u32 = 1;
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const SCHEDULER: &str = "scheduler.bpk";
const AVERAGE: &str = "average.bpk";
const BEST: &str = "best.safetensors";
const STATE: &str = "state.json";

/// The best evaluation on dev so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The step it was at.
    pub step: usize,
    /// The accuracy, from 0 to 1.
    pub accuracy: f64,
    /// The loss.
    #[serde(deserialize_with = "null_as_nan")]
    pub loss: f64,
}

/// Where a run stands, apart from its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps taken.
    pub step: usize,
    /// The step of the last evaluation; behind `step` if the run was interrupted
    /// before it could evaluate.
    pub evaluated: usize,
    /// The best evaluation.
    pub best: Option<Best>,
    /// How much of `metrics.jsonl` belongs to this state.
    pub metrics_bytes: u64,
    /// Sums since the last line of `metrics.jsonl`.
    pub sums: Sums,
    /// Wall seconds of all sessions.
    pub seconds: f64,
    /// The greatest memory use seen.
    pub peak_bytes: Option<u64>,
    /// The loss scale, where passes are in float16.
    #[serde(default)]
    pub loss_scale: LossScale,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    format: u32,
    #[serde(flatten)]
    state: State,
    /// SHA-256 of the other files, by name.
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A checkpoint that was read and found whole.
pub struct Resumed {
    /// Where the run stood.
    pub state: State,
    /// The tensors.
    pub records: Records,
    /// The moving average of the weights, without autodiff.
    pub average: Option<TrainingModel>,
    /// What was wrong with newer checkpoints, if any.
    pub warnings: Vec<String>,
}

/// Writes the checkpoint of `state.step`.
///
/// # Errors
///
/// When the disk refuses; earlier checkpoints are untouched then.
pub fn write(
    folder: &RunFolder,
    state: &State,
    records: Records,
    average: Option<&TrainingModel>,
) -> Result<(), TrainError> {
    let writer = folder.begin_checkpoint(state.step)?;
    let mut files = BTreeMap::new();
    let mut put = |name: &str, bytes: &[u8]| -> Result<(), TrainError> {
        let path = writer.path().join(name);
        fs::write(&path, bytes).map_err(|cause| TrainError::Write { path, cause })?;
        files.insert(name.to_owned(), sha256(bytes));
        Ok(())
    };
    let packed = |bytes: Result<Bytes, burn::store::RecordError>| {
        bytes.map_err(|error| TrainError::Internal(error.to_string()))
    };
    put(MODEL, &packed(records.model.checkpoint_into_bytes())?)?;
    put(
        OPTIMIZER,
        &packed(records.optimizer.checkpoint_into_bytes())?,
    )?;
    put(
        SCHEDULER,
        &packed(records.scheduler.checkpoint_into_bytes())?,
    )?;
    if let Some(average) = average {
        let record = average.clone().into_record();
        put(AVERAGE, &packed(record.checkpoint_into_bytes())?)?;
    }
    if state.best.is_some() {
        let weights = folder.weights_path();
        let bytes = fs::read(&weights).map_err(|cause| TrainError::Read {
            path: weights,
            cause,
        })?;
        put(BEST, &bytes)?;
    }
    let file = StateFile {
        format: FORMAT,
        state: state.clone(),
        files,
    };
    let json = serde_json::to_vec_pretty(&file)
        .map_err(|error| TrainError::Internal(error.to_string()))?;
    let path = writer.path().join(STATE);
    fs::write(&path, json).map_err(|cause| TrainError::Write { path, cause })?;
    writer.commit()?;
    Ok(())
}

/// Reads the newest checkpoint that is whole and fits `model`; `None` if there is none at all.
///
/// Damaged newer ones are removed, since the run will write them again. One that the system cannot
/// read may be whole, and is kept.
///
/// # Errors
///
/// When there are checkpoints and none can be used, or when the newest can't be read.
pub fn read_latest(
    folder: &RunFolder,
    model: &TrainingModel,
) -> Result<Option<Resumed>, TrainError> {
    let checkpoints = folder.checkpoints()?;
    let mut problems = Vec::new();
    for Checkpoint { step, path } in checkpoints.iter().rev() {
        match read(path, *step, model) {
            Ok(resumed) => {
                for damaged in checkpoints.iter().filter(|other| other.step > *step) {
                    let _ = fs::remove_dir_all(&damaged.path);
                }
                restore_best(folder, path, &resumed.state)?;
                let warnings = problems
                    .iter()
                    .map(|problem| format!("{problem}: going on from step {step} instead"))
                    .collect();
                return Ok(Some(Resumed {
                    warnings,
                    ..resumed
                }));
            }
            Err(Unusable::Damaged(problem)) => problems.push(problem),
            Err(Unusable::Unread { path, cause }) => return Err(TrainError::Read { path, cause }),
            Err(Unusable::Foreign(problem)) => {
                return Err(TrainError::NoUsableCheckpoint {
                    folder: folder.checkpoints_path(),
                    problem,
                    config: folder.config_path(),
                });
            }
        }
    }
    match problems.into_iter().next() {
        None => Ok(None),
        Some(problem) => Err(TrainError::NoUsableCheckpoint {
            folder: folder.checkpoints_path(),
            problem,
            config: folder.config_path(),
        }),
    }
}

/// Why a checkpoint can't be used.
enum Unusable {
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

fn read(path: &Path, step: usize, model: &TrainingModel) -> Result<Resumed, Unusable> {
    let load = |name: &str| {
        let path = path.join(name);
        fs::read(&path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => {
                Unusable::Damaged(format!("{} is missing", path.display()))
            }
            _ => Unusable::Unread { path, cause },
        })
    };
    let damaged = |name: &str, what: &str| {
        let path = path.join(name);
        Unusable::Damaged(format!("{} is damaged ({what})", path.display()))
    };
    let state = load(STATE)?;
    let unparsed = |error: serde_json::Error| damaged(STATE, &error.to_string());
    // Alone: the other fields depend on it.
    let Format { format } = serde_json::from_slice(&state).map_err(unparsed)?;
    if ![BEFORE_PARTS, FORMAT].contains(&format) {
        return Err(Unusable::Foreign(format!(
            "{} has format {format}, this version reads {BEFORE_PARTS} and {FORMAT}",
            path.join(STATE).display(),
        )));
    }
    let file: StateFile = serde_json::from_slice(&state).map_err(unparsed)?;
    if file.state.step != step {
        return Err(damaged(STATE, "its step is not the folder's"));
    }
    let checked = |name: &str| -> Result<Bytes, Unusable> {
        let bytes = load(name)?;
        if file.files.get(name) != Some(&sha256(&bytes)) {
            return Err(damaged(name, "its SHA-256 is not the recorded one"));
        }
        Ok(Bytes::from_bytes_vec(bytes))
    };
    fn record<R: Record>(bytes: Bytes) -> Result<R, String> {
        R::checkpoint_from_bytes(bytes).map_err(|error| error.to_string())
    }
    // A model's record, under the names that its modules have now.
    let of_model = |name: &str| -> Result<ModuleRecord, Unusable> {
        let mut bytes = checked(name)?;
        if format == BEFORE_PARTS {
            bytes = renamed_record(bytes).map_err(|error| damaged(name, &error.to_string()))?;
        }
        record(bytes).map_err(|error| damaged(name, &error))
    };
    let best_loss = file.state.best.as_ref().map_or(0.0, |best| best.loss);
    if !(file.state.sums.loss + best_loss).is_finite() {
        return Err(damaged(STATE, "a loss is not a number"));
    }
    if file.state.best.is_some() {
        checked(BEST)?;
    }
    let records = Records {
        model: of_model(MODEL)?,
        optimizer: record(checked(OPTIMIZER)?).map_err(|error| damaged(OPTIMIZER, &error))?,
        scheduler: record(checked(SCHEDULER)?).map_err(|error| damaged(SCHEDULER, &error))?,
    };
    // Loading inside burn-train panics on a record that does not fit: try it here first.
    let loaded = model.clone().try_load_record(records.model.clone());
    let loaded = loaded.map_err(|error| damaged(MODEL, &error.to_string()))?;
    // Earlier versions saved what had diverged.
    let state = loaded.state_dict().and_then(|state| state.check_finite());
    state.map_err(|error| damaged(MODEL, &error.to_string()))?;
    let average = match file.files.contains_key(AVERAGE) {
        false => None,
        true => {
            let loaded = model.valid().try_load_record(of_model(AVERAGE)?);
            Some(loaded.map_err(|error| damaged(AVERAGE, &error.to_string()))?)
        }
    };
    Ok(Resumed {
        state: file.state,
        records,
        average,
        warnings: Vec::new(),
    })
}

/// Makes `model.safetensors` what it was at the checkpoint.
fn restore_best(folder: &RunFolder, checkpoint: &Path, state: &State) -> Result<(), TrainError> {
    let weights = folder.weights_path();
    if state.best.is_none() {
        // A best that came after the checkpoint will be found again.
        let _ = fs::remove_file(&weights);
        return Ok(());
    }
    let best = checkpoint.join(BEST);
    let bytes = fs::read(&best).map_err(|cause| TrainError::Read { path: best, cause })?;
    if fs::read(&weights).ok().as_deref() != Some(&bytes[..]) {
        write_atomically(&weights, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_loss_of_an_earlier_version_can_be_read_and_is_no_number() {
        let state = State {
            sums: Sums {
                loss: f64::NAN,
                ..Sums::default()
            },
            ..State::default()
        };
        let file = StateFile {
            format: FORMAT,
            state,
            files: BTreeMap::new(),
        };
        let text = serde_json::to_string(&file).unwrap();
        assert!(text.contains("\"loss\":null"), "{text}");
        let read: StateFile = serde_json::from_str(&text).unwrap();
        assert!(read.state.sums.loss.is_nan());
    }
}
