//! A model's step, in the process that measures it: the step that training takes, on random
//! documents.

use anyhow::{Context, bail};
use burn::module::Module;
use burn::tensor::Device;
use transformer_ls_burn::ClassifierConfig;
use transformer_ls_burn::presets;
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::{Batch, Batcher};
use transformer_ls_infer::device;
use transformer_ls_infer::run::{Precision, TrainingConfig};

use super::job::{Budget, Job, Line, Pass, Subject};
use super::timing::{self, bytes_per_second, read, sensible, time};
use crate::optim::{LossScale, half_copy};
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
pub fn measure(job: Job, budget: &Budget) -> anyhow::Result<Line> {
    let Subject::Step {
        preset,
        packing,
        lengths,
    } = &job.subject
    else {
        bail!("attention has no step");
    };
    let device = device::resolve(&job.device)?.device;
    let config = model(preset, job.n)?;
    let batches = match lengths.is_empty() {
        true => vec![samples(&config, &full(&config, job.b))],
        false => lengths.iter().map(|of| samples(&config, of)).collect(),
    };
    let tokens: usize = batches.iter().flatten().map(token_count).sum();
    let tokens_a_batch = tokens as f64 / batches.len() as f64;
    let batcher = Batcher::for_model(&config, packing.packs(&device));
    // Made ahead, as the trainer's loader does.
    let batches = |device: &Device| -> Vec<Batch> {
        let batch = |(step, samples): (usize, &Vec<_>)| {
            batcher.batch(samples, device, Some(SEED + step as u64))
        };
        batches.iter().enumerate().map(batch).collect()
    };
    let mut kernels = Vec::new();
    let timing = match job.pass {
        Pass::TrainStep | Pass::ForwardBackward => {
            let device = device.clone().autodiff();
            let classifier = initial_weights(&config, SEED, &device)?;
            let training = TrainingConfig {
                precision: job.precision,
                ..training()
            };
            let (mut learner, _) = learner(TrainingModel::new(classifier), &training)?;
            learner.fork(&device);
            let batches = batches(&device);
            let mut batches = batches.iter().cycle().cloned();
            let mut scale = LossScale::default();
            let mut step = || {
                let parts = batches.by_ref().take(1).map(Into::into).collect();
                let figures = take_step(&mut learner, parts, &training, &mut scale);
                (figures, learner.model())
            };
            // A gradient that leaves float16 ends its step early, with a smaller scale for the next.
            for _ in 0..16 {
                if job.precision == Precision::F32 || !step().0?.skipped {
                    break;
                }
            }
            // The loss is that of the weights before the step, which may be all that failed.
            let timing = time(&device, budget, &mut step, |(figures, stepped)| {
                sensible(figures?.read()?.mean_loss())?;
                Ok(stepped.state_dict()?.check_finite()?)
            })?;
            if job.profile {
                kernels = timing::kernels(&device, step)?;
            }
            timing
        }
        Pass::Forward => {
            let classifier = initial_weights(&config, SEED, &device)?;
            let classifier = match job.precision {
                Precision::F32 => classifier,
                Precision::F16 => half_copy(&classifier).valid(),
            };
            let batches = batches(&device);
            let mut batches = batches.iter().cycle().cloned();
            let mut pass = || batches.next().map(|batch| batch.logits(&classifier));
            let timing = time(&device, budget, &mut pass, |logits| {
                read(logits.context("there is no batch")?)
            })?;
            if job.profile {
                kernels = timing::kernels(&device, pass)?;
            }
            timing
        }
    };
    let bytes_per_second = match job.profile {
        true => Some(bytes_per_second(&device, budget)?),
        false => None,
    };
    Ok(Line {
        milliseconds: timing.seconds * 1e3,
        gflops: None,
        tokens_per_second: Some(tokens_a_batch / timing.seconds),
        peak_bytes: timing.peak_bytes,
        floor_milliseconds: None,
        bytes_per_second,
        kernels,
        job,
    })
}

/// The protocol's optimizer, with a schedule that no measurement reaches the end of.
fn training() -> TrainingConfig {
    TrainingConfig {
        steps: 1 << 40,
        ..tasks::listops::protocol().training
    }
}

/// The lengths of documents that fill a batch of `b` samples.
fn full(config: &ClassifierConfig, b: usize) -> Vec<usize> {
    vec![config.encoder.embedding.max_length; b * documents_a_sample(config)]
}

/// How many documents a sample of the preset has.
pub fn documents_a_sample(config: &ClassifierConfig) -> usize {
    1 + usize::from(config.pair)
}

fn token_count(sample: &Sample) -> usize {
    sample.documents.token_count()
}

/// Random documents of these lengths, without the id that stands for padding.
fn samples(config: &ClassifierConfig, lengths: &[usize]) -> Vec<Sample> {
    let real_ids = (config.encoder.embedding.vocab_size.min(1 << 16) - 1).max(1) as u64;
    let document = |(index, &length): (usize, &usize)| -> Vec<u16> {
        let stream = derive(SEED, Purpose::Order, index as u64);
        let id = |place| (1 + derive(stream, Purpose::Order, place) % real_ids) as u16;
        (0..length as u64).map(id).collect()
    };
    let documents: Vec<_> = lengths.iter().enumerate().map(document).collect();
    let sample = |(index, documents): (usize, &[Vec<u16>])| Sample {
        documents: match documents {
            [first, second, ..] => TokenIds::Two(first.clone(), second.clone()),
            one => TokenIds::One(one.concat()),
        },
        label: (index % config.classes.min(256)) as u8,
    };
    let samples = documents.chunks(documents_a_sample(config));
    samples.enumerate().map(sample).collect()
}
