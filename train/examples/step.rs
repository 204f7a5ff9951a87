//! Seconds of the trainer's own step, or of a forward pass, on batches of given lengths.
//!
//! ```text
//! cargo run --release --example step -- listops train_step 10 lengths.txt
//! ```
//!
//! The file has a batch a line: the lengths of its documents, in tokens (two for each sample where
//! the preset compares pairs). Tokens are pseudo-random: time does not depend on them. Batches lie
//! packed, on Flex, as `ls-train` has them on a CPU. Prints one line of JSON: the preset, the pass,
//! `seconds` of every step after two that warm up, `loss` of the last, the most memory that the
//! process held, and the number of threads (`RAYON_NUM_THREADS`).
//! `benches/peer/compare.py` runs it in turn with PyTorch.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use burn::train::{Learner, TrainStep};
use transformer_ls_burn::presets;
use transformer_ls_datasets::{Sample, TokenIds};
use transformer_ls_infer::batch::Batcher;
use transformer_ls_infer::device::peak_resident_bytes;
use transformer_ls_train::optim::{AdamWConfig, Beta1, OneCycle, Schedule};
use transformer_ls_train::trainer::TrainingModel;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WARM_UP: usize = 2;

fn main() -> Result<()> {
    transformer_ls_infer::memory::keep();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [preset, pass, steps, lengths] = arguments.as_slice() else {
        bail!("usage: step PRESET train_step|forward STEPS LENGTHS_FILE");
    };
    let preset = presets::find(preset).with_context(|| format!("no preset {preset}"))?;
    let steps: usize = steps.parse().context("STEPS is not a number")?;
    let lengths = std::fs::read_to_string(lengths).with_context(|| lengths.clone())?;
    let per_sample = if preset.model.pair { 2 } else { 1 };
    let batches = lengths
        .lines()
        .map(|line| samples(line, per_sample, preset.model.encoder.embedding.vocab_size))
        .collect::<Result<Vec<_>>>()?;
    ensure!(!batches.is_empty(), "the file of lengths is empty");

    let device = Device::flex();
    device.seed(1);
    let batcher = Batcher::for_model(&preset.model, true);
    let batch = |step: usize, device: &Device| {
        batcher.batch(&batches[step % batches.len()], device, Some(step as u64))
    };
    let mut seconds = Vec::with_capacity(steps);
    let mut loss = f32::NAN;
    match pass.as_str() {
        "train_step" => {
            let device = device.autodiff();
            let classifier = preset.model.init(&device)?;
            let schedule = OneCycle::new(5000, 1000, 1e-4)?;
            let optimizer = AdamWConfig {
                beta1: Beta1::Cycled(schedule),
                beta2: 0.999,
                epsilon: 1e-6,
                weight_decay: 0.0,
            };
            let model = TrainingModel::new(classifier);
            let mut learner = Learner::new(
                model,
                optimizer.init()?,
                Schedule::from(schedule).scheduler(),
            );
            learner.fork(&device);
            for step in 0..WARM_UP + steps {
                let start = Instant::now();
                let output = learner.train_step(batch(step, &device).into());
                learner.lr_step();
                learner.optimizer_step(output.grads);
                seconds.push(start.elapsed().as_secs_f64());
            }
            let output = TrainStep::step(&learner.model(), batch(0, &device).into());
            loss = output.item.mean_loss() as f32;
        }
        "forward" => {
            let model = preset.model.init(&device)?;
            for step in 0..WARM_UP + steps {
                let start = Instant::now();
                let logits = batch(step, &device).logits(&model);
                loss = logits.sum().into_scalar();
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        other => bail!("no pass {other}: train_step or forward"),
    }
    let line = serde_json::json!({
        "preset": preset.name,
        "pass": pass,
        "seconds": seconds[WARM_UP..],
        "loss": loss,
        "peak_bytes": peak_resident_bytes(),
        "threads": std::thread::available_parallelism()?.get(),
    });
    println!("{line}");
    Ok(())
}

/// The samples of one line of lengths.
fn samples(line: &str, per_sample: usize, vocabulary: usize) -> Result<Vec<Sample>> {
    let documents = line
        .split_whitespace()
        .enumerate()
        .map(|(number, length)| {
            let length: usize = length.parse().context("a length is not a number")?;
            Ok(document(number as u32, length, vocabulary))
        })
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        documents.len().is_multiple_of(per_sample) && !documents.is_empty(),
        "a line of {} lengths where samples have {per_sample} documents",
        documents.len()
    );
    let sample = |documents: &[Vec<u16>]| Sample {
        label: (documents[0][0] % 2) as u8,
        documents: match documents {
            [one] => TokenIds::One(one.clone()),
            [first, second, ..] => TokenIds::Two(first.clone(), second.clone()),
            [] => unreachable!("chunks are not empty"),
        },
    };
    Ok(documents.chunks_exact(per_sample).map(sample).collect())
}

/// Ids in `1..vocabulary`, for 0 is the padding.
fn document(seed: u32, length: usize, vocabulary: usize) -> Vec<u16> {
    let mut x = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..length)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            1 + ((x >> 8) as usize % (vocabulary - 1)) as u16
        })
        .collect()
}
