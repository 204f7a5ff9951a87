//! Checkpoints of a language model's run: `model.bpk`, `optimizer.bpk` and `average.bpk` (Burn's records),
//! `memory.<part>.safetensors` (what the model keeps of the text before, for each part of a step's rows),
//! the best weights, and `state.json`, which says where in the text the run stands.

use std::path::Path;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::train::checkpoint::Checkpoint as Record;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::weights::{StateDict, language_model_state_dict};
use transformer_ls_burn::{LanguageModel, Memory};
use transformer_ls_datasets::corpus::Position;
use transformer_ls_infer::language::LanguageFolder;
use transformer_ls_infer::run::null_as_nan;

use crate::optim::{AdamWConfig, Beta1, MovingAverage};
use crate::trainer::TrainError;
use crate::trainer::sealed::{self, Sealed, Sealing, Unusable};

/// The layout of a checkpoint; a change that old code would misread raises it.
const FORMAT: u32 = 1;
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const AVERAGE: &str = "average.bpk";

/// AdamW's β₁: PyTorch's default.
const BETA1: f64 = 0.9;

/// Where a run stands, apart from its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps taken.
    pub step: usize,
    /// The step of the last evaluation; behind `step` if the run was interrupted before it could
    /// evaluate.
    pub evaluated: usize,
    /// The best evaluation.
    pub best: Option<Best>,
    /// How much of `metrics.jsonl` belongs to this state.
    pub metrics_bytes: u64,
    /// Where in the text the next segment begins.
    pub position: Position,
    /// Bytes that the steps learned from.
    pub characters: u64,
    /// Sums since the last line of `metrics.jsonl`.
    pub sums: Sums,
    /// Wall seconds of all sessions.
    pub seconds: f64,
    /// The greatest memory use seen.
    pub peak_bytes: Option<u64>,
}

/// The best evaluation on dev so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The step it was at.
    pub step: usize,
    /// The bits per character.
    #[serde(deserialize_with = "null_as_nan")]
    pub bits_per_character: f64,
}

/// Sums over training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Sum of `−ln p` over the bytes.
    #[serde(deserialize_with = "null_as_nan")]
    pub nats: f64,
    /// Bytes.
    pub characters: u64,
    /// Seconds.
    pub seconds: f64,
}

impl Sums {
    /// Mean `−log₂ p` of a byte.
    pub fn bits_per_character(&self) -> f64 {
        self.nats / self.characters as f64 / std::f64::consts::LN_2
    }

    /// Bytes a second.
    pub fn characters_per_second(&self) -> f64 {
        self.characters as f64 / self.seconds.max(1e-9)
    }
}

/// A run at some step.
pub(super) struct Begun {
    pub(super) model: LanguageModel,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) average: Option<MovingAverage<LanguageModel>>,
    /// One for each part of a step's rows; none before the first step.
    pub(super) memory: Vec<Memory>,
    pub(super) state: State,
}

/// Writes the checkpoint of the present step.
pub(super) fn write(folder: &LanguageFolder, begun: &Begun) -> Result<(), TrainError> {
    let mut sealing = Sealing::begin(folder, begun.state.step)?;
    let of_model = |model: &LanguageModel| model.clone().into_record().checkpoint_into_bytes();
    sealing.put_record(MODEL, of_model(&begun.model))?;
    let optimizer = begun.optimizer.to_record();
    sealing.put_record(OPTIMIZER, optimizer.checkpoint_into_bytes())?;
    if let Some(average) = begun.average.as_ref().and_then(MovingAverage::mean) {
        sealing.put_record(AVERAGE, of_model(average))?;
    }
    for (part, memory) in begun.memory.iter().enumerate() {
        let bytes = memory.state_dict().to_safetensors(&Default::default());
        let bytes = bytes.map_err(|error| TrainError::Internal(error.to_string()))?;
        sealing.put(&of_memory(part), &bytes)?;
    }
    if begun.state.best.is_some() {
        sealing.put_best(folder.weights_path())?;
    }
    sealing.commit(FORMAT, &begun.state)
}

fn of_memory(part: usize) -> String {
    format!("memory.{part}.safetensors")
}

/// The run as its newest whole checkpoint has it, and what was wrong with newer ones; `model` at step 0 if
/// there is none.
pub(super) fn read_latest(
    folder: &LanguageFolder,
    model: LanguageModel,
) -> Result<(Begun, Vec<String>), TrainError> {
    let training = &folder.config().training;
    let optimizer = AdamWConfig {
        beta1: Beta1::Constant(BETA1),
        beta2: training.beta2,
        epsilon: training.epsilon,
        weight_decay: training.weight_decay,
    };
    let fresh = Begun {
        model,
        optimizer: optimizer.init()?,
        average: training.ema.map(MovingAverage::new),
        memory: Vec::new(),
        state: State::default(),
    };
    let Some(newest) = sealed::newest(folder, |path, step| read(path, step, folder, &fresh))?
    else {
        return Ok((fresh, Vec::new()));
    };
    newest.restore_best(&folder.weights_path(), newest.read.state.best.is_some())?;
    Ok((newest.read, newest.warnings))
}

fn read(
    path: &Path,
    step: usize,
    folder: &LanguageFolder,
    fresh: &Begun,
) -> Result<Begun, Unusable> {
    let training = &folder.config().training;
    let sealed = Sealed::<State>::open(path, &[FORMAT])?;
    let state = sealed.state();
    let best = state
        .best
        .as_ref()
        .map_or(0.0, |best| best.bits_per_character);
    sealed.check(
        state.step == step,
        state.sums.nats + best,
        state.best.is_some(),
    )?;
    let of_model = |name: &str, model: LanguageModel| {
        let record: ModuleRecord = sealed.record(name)?;
        let loaded = model.try_load_record(record);
        loaded.map_err(|error| sealed.damaged(name, &error.to_string()))
    };
    let model = of_model(MODEL, fresh.model.clone())?;
    let finite = language_model_state_dict(&model).and_then(|state| state.check_finite());
    finite.map_err(|error| sealed.damaged(MODEL, &error.to_string()))?;
    let optimizer: OptimizerRecord = sealed.record(OPTIMIZER)?;
    let average = match (training.ema, sealed.has(AVERAGE)) {
        (Some(decay), true) => {
            let mean = of_model(AVERAGE, fresh.model.valid())?;
            Some(MovingAverage::resumed(decay, mean))
        }
        _ => fresh.average.clone(),
    };
    let device = fresh.model.device();
    let layers = fresh.model.layers.len();
    let memory = (0..training.accumulate).map(|part| {
        let name = of_memory(part);
        let state = StateDict::from_safetensors(&sealed.bytes(&name)?);
        let memory = state.and_then(|state| Memory::from_state_dict(state, layers, &device));
        memory.map_err(|error| sealed.damaged(&name, &error.to_string()))
    });
    Ok(Begun {
        memory: memory.collect::<Result<_, _>>()?,
        optimizer: fresh.optimizer.clone().load_record(optimizer),
        model,
        average,
        state: sealed.into_state(),
    })
}
