//! A model's step, in the process that measures it: the step that training takes, on documents
//! that fill their batch.

use anyhow::Context;
use transformer_ls_burn::ClassifierConfig;
use transformer_ls_burn::presets;
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::device;
use transformer_ls_infer::run::{Packing, TrainingConfig};

use super::job::{Budget, Job, Line, Pass};
use super::timing::{read, sensible, time};
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
pub fn model(preset: &str, n: usize) -> anyhow::Result<ClassifierConfig> {
    let found = presets::find(preset).with_context(|| {
        let known: Vec<_> = presets::all().iter().map(|preset| preset.name).collect();
        let known = known.join(", ");
        format!("there is no preset `{preset}`: use one of {known}")
    })?;
    let mut model = found.model;
    model.encoder.embedding.max_length = n;
    model
        .validate()
        .map_err(|error| anyhow::anyhow!("{error}: choose another length with --n"))?;
    Ok(model)
}

/// Measures in this process.
pub fn measure(job: Job, preset: &str, budget: &Budget) -> anyhow::Result<Line> {
    let device = device::resolve(&job.device)?.device;
    let config = model(preset, job.n)?;
    let samples: Vec<Sample> = (0..job.b).map(|index| sample(&config, index)).collect();
    let batcher = Batcher::for_model(&config, Packing::Auto.packs(&device));
    let timing = match job.pass {
        Pass::TrainStep | Pass::ForwardBackward => {
            let device = device.autodiff();
            let batch = batcher.batch(&samples, &device, Some(SEED));
            let classifier = initial_weights(&config, SEED, &device)?;
            let training = training();
            let (mut learner, _) = learner(TrainingModel::new(classifier), &training)?;
            learner.fork(&device);
            let step = || {
                let parts = vec![batch.clone().into()];
                take_step(&mut learner, parts, &training, &mut LossScale::default())
            };
            time(&device, budget, step, |figures| {
                sensible(figures?.read()?.mean_loss())
            })?
        }
        Pass::Forward => {
            let batch = batcher.batch(&samples, &device, None);
            let classifier = initial_weights(&config, SEED, &device)?;
            let pass = || batch.clone().logits(&classifier);
            time(&device, budget, pass, read)?
        }
    };
    let tokens: usize = samples.iter().map(|s| s.documents.token_count()).sum();
    Ok(Line {
        job,
        milliseconds: timing.seconds * 1e3,
        gflops: None,
        tokens_per_second: Some(tokens as f64 / timing.seconds),
        peak_bytes: timing.peak_bytes,
        floor_milliseconds: None,
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
            true => TokenIds::Two(document(0), document(1)),
            false => TokenIds::One(document(0)),
        },
        label: (index % config.classes.min(256)) as u8,
    }
}
