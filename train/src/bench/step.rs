//! A model's step, in the process that measures it: the step that training takes, on documents
//! that fill their batch.

use transformer_ls_burn::ClassifierConfig;
use transformer_ls_burn::presets::{self, Preset};
use transformer_ls_datasets::{Documents, Sample};
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::device;
use transformer_ls_infer::run::{Packing, TrainingConfig};

use super::BenchError;
use super::job::{Figures, Job, Pass};
use super::timing::{read, time};
use crate::optim::LossScale;
use crate::tasks;
use crate::trainer::order::{Purpose, derive};
use crate::trainer::{TrainingModel, initial_weights, learner, take_step};

/// Any number will do: figures do not depend on the values.
const SEED: u64 = 1;

/// The preset's model for documents of `n` tokens.
///
/// # Errors
///
/// An unknown preset, or a length that it can't have.
pub fn model(preset: &str, n: usize) -> Result<ClassifierConfig, BenchError> {
    let found = presets::find(preset).ok_or_else(|| BenchError::Preset {
        name: preset.to_string(),
        known: names().join(", "),
    })?;
    let mut model = found.model;
    model.encoder.embedding.max_length = n;
    model.validate()?;
    Ok(model)
}

/// The names of all presets.
pub fn names() -> Vec<&'static str> {
    let name = |preset: Preset| preset.name;
    presets::all().into_iter().map(name).collect()
}

/// Measures in this process.
///
/// # Errors
///
/// An unknown device or preset, or what the device reports of work that failed.
pub fn measure(job: &Job, preset: &str) -> Result<Figures, BenchError> {
    let chosen = device::resolve(&job.device)?;
    let config = model(preset, job.n)?;
    let samples: Vec<Sample> = (0..job.b).map(|index| sample(&config, index)).collect();
    let batcher = Batcher::for_model(&config, Packing::Auto.packs(&chosen.device));
    let timing = match job.pass {
        Pass::TrainStep | Pass::ForwardBackward => {
            let device = chosen.device.clone().autodiff();
            let batch = batcher.batch(&samples, &device, Some(SEED));
            let classifier = initial_weights(&config, SEED, &device)?;
            let training = training();
            let (mut learner, _) = learner(TrainingModel::new(classifier), &training)?;
            learner.fork(&device);
            time(
                &device,
                &job.budget,
                || {
                    let parts = vec![batch.clone().into()];
                    take_step(&mut learner, parts, &training, &mut LossScale::default())
                },
                |figures| match figures?.read()?.mean_loss() {
                    loss if loss.is_finite() && loss > 0.0 => Ok(()),
                    loss => Err(BenchError::Nonsense(loss)),
                },
            )?
        }
        Pass::Forward => {
            let batch = batcher.batch(&samples, &chosen.device, None);
            let classifier = initial_weights(&config, SEED, &chosen.device)?;
            time(
                &chosen.device,
                &job.budget,
                || batch.clone().logits(&classifier),
                read,
            )?
        }
    };
    Ok(Figures {
        timing,
        bytes_per_second: None,
        taken: Figures::taken(&chosen),
    })
}

/// The protocol's optimizer, with a schedule that no measurement reaches the end of.
fn training() -> TrainingConfig {
    TrainingConfig {
        steps: 1 << 40,
        ..tasks::listops::protocol().training
    }
}

/// Random documents of full length, without the id that stands for padding.
fn sample(config: &ClassifierConfig, index: usize) -> Sample {
    let embedding = &config.encoder.embedding;
    let document = |which: usize| -> Vec<u16> {
        let stream = derive(SEED, Purpose::Order, (2 * index + which) as u64);
        let real_ids = (embedding.vocab_size.min(1 << 16) - 1).max(1) as u64;
        (0..embedding.max_length as u64)
            .map(|place| (1 + derive(stream, Purpose::Order, place) % real_ids) as u16)
            .collect()
    };
    Sample {
        documents: match config.pair {
            true => Documents::Two(document(0), document(1)),
            false => Documents::One(document(0)),
        },
        label: (index % config.classes.min(256)) as u8,
    }
}
