//! A language model's speed: characters a second in training, and in writing, early and late in a text.

use std::time::Instant;

use anyhow::Context;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Serialize;
use transformer_ls_burn::{LanguageModel, LanguageModelConfig, Segment};
use transformer_ls_datasets::draws::{Draws, PcgDraws};
use transformer_ls_infer::device::KernelTime;
use transformer_ls_infer::language::{Sampler, Sampling};

use super::job::Budget;
use super::timing;
use crate::optim::{AdamWConfig, Beta1, update};
use crate::trainer::memory;

/// Any number will do: figures do not depend on the values.
const SEED: u64 = 1;
/// Steps before those that count.
const WARM_UP: usize = 2;
/// Characters before those that count.
pub const UNCOUNTED: usize = 100;

/// How many copies are timed at most, and how long.
const COPIES: Budget = Budget {
    repeats: 20,
    seconds: 1.0,
};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Work {
    /// The model.
    pub model: LanguageModelConfig,
    /// Characters of a segment.
    pub segment: usize,
    /// Characters before it that the model still sees.
    pub memory: usize,
    /// Texts a batch in training.
    pub batch: usize,
    /// Steps that count; 0: no training.
    pub steps: usize,
    /// Characters that are written, the first hundred not counted; 0: none.
    pub characters: usize,
    /// Whether a step more is taken, whose kernels are timed.
    pub profile: bool,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Characters a second in training: forward and backward pass and an update, the memory carried; of
    /// the median step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<f64>,
    /// Characters a second in writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Writing>,
    /// The most memory in use.
    pub peak_bytes: Option<u64>,
    /// The kernels of a training step, where they are told apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelTime>,
    /// Bytes a second of a large copy, to compare kernels with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<f64>,
}

/// How fast a text is written.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Writing {
    /// Characters a second, all together.
    pub characters_per_second: f64,
    /// Those of the first that count.
    pub early_characters_per_second: f64,
    /// Those of the last, as many.
    pub late_characters_per_second: f64,
}

/// Measures in this process.
///
/// # Errors
///
/// A model that cannot be built, or a device that fails.
pub fn measure(work: &Work, device: &Device) -> anyhow::Result<Figures> {
    device.seed(SEED);
    let (training, kernels) = match work.steps {
        0 => (None, Vec::new()),
        _ => {
            let device = device.clone().autodiff();
            let (rate, kernels) = training(work, work.model.init(&device)?, &device)?;
            (Some(rate), kernels)
        }
    };
    let generation = match work.characters {
        0 => None,
        _ => Some(writing(work, &work.model.init(device)?, device)?),
    };
    Ok(Figures {
        training,
        generation,
        peak_bytes: memory::peak(device, None),
        kernels,
        bytes_per_second: match work.profile {
            true => Some(timing::bytes_per_second(device, &COPIES)?),
            false => None,
        },
    })
}

/// Characters a second, and the kernels of a step.
fn training(
    work: &Work,
    model: LanguageModel,
    device: &Device,
) -> anyhow::Result<(f64, Vec<KernelTime>)> {
    let optimizer = AdamWConfig {
        beta1: Beta1::Constant(0.9),
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
    };
    let mut optimizer = optimizer.init()?;
    let mut draws = PcgDraws::new(SEED, 0);
    let (b, n) = (work.batch, work.segment);
    let mut reading = Some((model.memory(b, work.memory), model));
    let mut step = |number: usize| -> anyhow::Result<f64> {
        let (memory, model) = reading.take().context("the step before failed")?;
        let ids = (0..b * (n + 1)).map(|_| draws.below(work.model.vocab_size as u32) as i32);
        let ids = TensorData::new(ids.collect::<Vec<_>>(), [b, n + 1]);
        let ids = Tensor::<2, Int>::from_data(ids, device);
        device.sync()?;
        let started = Instant::now();
        let segment = Segment {
            tokens: ids.clone().narrow(1, 0, n),
            memory,
            dropout_seed: Some(number as u64),
        };
        let (losses, next) = model.loss(segment, ids.narrow(1, 1, n));
        let loss = losses.tokens.mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let model = update(&mut optimizer, 1e-4, model, gradients);
        let loss: f32 = loss.try_into_scalar()?;
        device.sync()?;
        let seconds = started.elapsed().as_secs_f64();
        anyhow::ensure!(loss.is_finite(), "the device computed no loss");
        reading = Some((next, model));
        Ok(seconds)
    };
    let steps = WARM_UP + work.steps;
    let mut seconds = Vec::with_capacity(steps);
    for number in 0..steps {
        seconds.push(step(number)?);
    }
    let kernels = match work.profile {
        true => {
            let mut last = Ok(0.0);
            let kernels = timing::kernels(device, || last = step(steps))?;
            last?;
            kernels
        }
        false => Vec::new(),
    };
    let mut seconds = seconds.split_off(WARM_UP);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    Ok(((b * n) as f64 / median, kernels))
}

fn writing(work: &Work, model: &LanguageModel, device: &Device) -> anyhow::Result<Writing> {
    let model = model.clone().no_grad();
    let mut decoding = model.decoding(model.memory(1, work.memory), work.segment);
    let mut sampler = Sampler::new(Sampling::default(), SEED, 0)?;
    let mut seconds = Vec::with_capacity(work.characters);
    let mut id = 0;
    for _ in 0..work.characters {
        let started = Instant::now();
        let token = Tensor::from_data(TensorData::new(vec![i32::from(id)], [1, 1]), device);
        let logits = model.decode(&mut decoding, token);
        let logits = logits.try_into_vec_as::<f32>()?;
        id = sampler
            .choose(&logits)
            .context("the device computed no scores")?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let rate = |seconds: &[f64]| seconds.len() as f64 / seconds.iter().sum::<f64>();
    let counted = &seconds[UNCOUNTED.min(seconds.len() - 1)..];
    let span = (seconds.len() / 10).clamp(1, 500).min(counted.len());
    Ok(Writing {
        characters_per_second: rate(counted),
        early_characters_per_second: rate(&counted[..span]),
        late_characters_per_second: rate(&counted[counted.len() - span..]),
    })
}
