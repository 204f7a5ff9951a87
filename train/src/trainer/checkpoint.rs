//! Checkpoints on disk: everything that a run needs to continue.
//!
//! `checkpoint/<step>/` holds `model.bpk`, `optimizer.bpk`, `scheduler.bpk` (Burn's own
//! records), `best.safetensors` (the best weights so far, so that a kill between a new
//! best and the next checkpoint can neither lose nor mistake them), `average.bpk` where a
//! moving average of the weights is kept, and `state.json` with the SHA-256 of the others. The folder appears in one rename, and older ones are
//! pruned only after that.

use std::path::Path;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::train::checkpoint::Checkpoint as Record;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::weights::renamed_record;
use transformer_ls_infer::run::{RunFolder, null_as_nan};

use super::error::TrainError;
use super::figures::Sums;
use super::handover::Records;
use super::model::TrainingModel;
use super::sealed::{self, Sealed, Sealing, Unusable};
use crate::optim::LossScale;

/// The layout of a checkpoint; a change that old code would misread raises it.
const FORMAT: u32 = 2;
/// The format in which records have the names from before attention was a part.
const BEFORE_PARTS: u32 = 1;
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const SCHEDULER: &str = "scheduler.bpk";
const AVERAGE: &str = "average.bpk";

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
    let mut sealing = Sealing::begin(folder, state.step)?;
    sealing.put_record(MODEL, records.model.checkpoint_into_bytes())?;
    sealing.put_record(OPTIMIZER, records.optimizer.checkpoint_into_bytes())?;
    sealing.put_record(SCHEDULER, records.scheduler.checkpoint_into_bytes())?;
    if let Some(average) = average {
        let record = average.clone().into_record();
        sealing.put_record(AVERAGE, record.checkpoint_into_bytes())?;
    }
    if state.best.is_some() {
        sealing.put_best(folder.weights_path())?;
    }
    sealing.commit(FORMAT, state)
}

/// Reads the newest checkpoint that is whole and fits `model`; `None` if there is none at all.
///
/// # Errors
///
/// As [`sealed::newest`].
pub fn read_latest(
    folder: &RunFolder,
    model: &TrainingModel,
) -> Result<Option<Resumed>, TrainError> {
    let newest = sealed::newest(folder, |path, step| read(path, step, model))?;
    let Some(newest) = newest else {
        return Ok(None);
    };
    let has_best = newest.read.state.best.is_some();
    newest.restore_best(&folder.weights_path(), has_best)?;
    Ok(Some(Resumed {
        warnings: newest.warnings,
        ..newest.read
    }))
}

fn read(path: &Path, step: usize, model: &TrainingModel) -> Result<Resumed, Unusable> {
    let sealed = Sealed::<State>::open(path, &[BEFORE_PARTS, FORMAT])?;
    let state = sealed.state();
    let best_loss = state.best.as_ref().map_or(0.0, |best| best.loss);
    let losses = state.sums.loss + best_loss;
    sealed.check(state.step == step, losses, state.best.is_some())?;
    // A model's record, under the names that its modules have now.
    let of_model = |name: &str| -> Result<ModuleRecord, Unusable> {
        let mut bytes = sealed.bytes(name)?;
        if sealed.format() == BEFORE_PARTS {
            let renamed = renamed_record(bytes);
            bytes = renamed.map_err(|error| sealed.damaged(name, &error.to_string()))?;
        }
        sealed.as_record(name, bytes)
    };
    let records = Records {
        model: of_model(MODEL)?,
        optimizer: sealed.record(OPTIMIZER)?,
        scheduler: sealed.record(SCHEDULER)?,
    };
    // Loading inside burn-train panics on a record that does not fit: try it here first.
    let loaded = model.clone().try_load_record(records.model.clone());
    let loaded = loaded.map_err(|error| sealed.damaged(MODEL, &error.to_string()))?;
    // Earlier versions saved what had diverged.
    let finite = loaded.state_dict().and_then(|state| state.check_finite());
    finite.map_err(|error| sealed.damaged(MODEL, &error.to_string()))?;
    let average = match sealed.has(AVERAGE) {
        false => None,
        true => {
            let loaded = model.valid().try_load_record(of_model(AVERAGE)?);
            Some(loaded.map_err(|error| sealed.damaged(AVERAGE, &error.to_string()))?)
        }
    };
    Ok(Resumed {
        records,
        average,
        warnings: Vec::new(),
        state: sealed.into_state(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::sealed::StateFile;
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
        let read: StateFile<State> = serde_json::from_str(&text).unwrap();
        assert!(read.state.sums.loss.is_nan());
    }
}
