//! Pathfinder of 32, 64 and 256 pixels a side, and Path-X of 128: pixels as ids, two classes.
//!
//! The protocol of 32 is Nyströmformer's (`LRA/code/lra_config.py`): batches of 256, 62400 steps,
//! the rate's peak at step 312, no weight decay, dev every 312 steps, half an epoch. Nobody
//! published one of this model for the larger sizes: they take as many tokens a step, in fewer
//! images, and evaluate as often an epoch.

use std::path::Path;

use transformer_ls_datasets::pathfinder::{self, Difficulty, Size, generate};
use transformer_ls_datasets::{DatasetError, State};
use transformer_ls_infer::run::{DataConfig, TrainingConfig};

use super::{Cancelled, Generate, Generator, Made, Prepared, Protocol, strong};
use crate::trainer::progress::count;

/// The tokens of a step: 256 images of 32 × 32.
const TOKENS: usize = 256 * 1024;
/// The steps until the rate's peak, and between checkpoints.
const WARMUP: usize = 312;

/// Pathfinder of every size.
pub fn protocols() -> [Protocol; 4] {
    // A protocol holds functions, which cannot hold a size.
    macro_rules! of {
        ($size:expr) => {
            protocol(
                $size,
                |data| state(data, $size),
                |dir, what, prepared, cancelled| make($size, dir, what, prepared, cancelled),
            )
        };
    }
    [
        of!(Size::N32),
        of!(Size::N64),
        of!(Size::N128),
        of!(Size::N256),
    ]
}

fn protocol(
    size: Size,
    state: fn(&DataConfig) -> Result<State, DatasetError>,
    make: Generator,
) -> Protocol {
    let batch_size = TOKENS / size.tokens();
    Protocol {
        task: size.task(),
        preset: size.task(),
        strong: strong::of(size.task()),
        seed: 1234,
        training: TrainingConfig {
            steps: 62_400,
            warmup: WARMUP,
            learning_rate: 1e-4,
            weight_decay: 0.0,
            beta2: 0.999,
            epsilon: 1e-6,
            batch_size,
            evaluate_every: WARMUP * 256 / batch_size,
            checkpoint_every: WARMUP,
            eval_batch_size: batch_size,
            ..TrainingConfig::default()
        },
        tokenizer: None,
        difficulty: Some(Difficulty::default()),
        about_data: format!(
            "200000 images are made, as published; `ls-train generate {} --count N` makes fewer. \
             What is made stays when it is stopped. Packed to train from they take another {:.1} GB \
             (in the folder `packed`, or --set cache=DIR). The published `lra_release.gz` \
             and a folder with `lra_release` in it serve, too.",
            size.task(),
            200_000.0 * size.tokens() as f64 / 1e9
        ),
        generate: Some(Made { state, make }),
    }
}

fn state(data: &DataConfig, size: Size) -> Result<State, DatasetError> {
    pathfinder::state(&data.dir, size, data.difficulty.unwrap_or_default())
}

fn make(
    size: Size,
    dir: &Path,
    what: &Generate,
    prepared: Prepared,
    cancelled: Cancelled,
) -> Result<String, DatasetError> {
    let mut config = generate::GenerateConfig::new(size);
    if let Some(count) = what.count {
        config.count = count;
    }
    if let Some(seed) = what.seed {
        config.seed = seed;
    }
    if let Some(difficulty) = what.difficulty {
        config.difficulty = difficulty;
    }
    let report = generate::generate(dir, &config, prepared, cancelled)?;
    let seconds = report.elapsed.as_secs_f64();
    let drawn = report.drawn.max(1) as f64;
    Ok(format!(
        "{} images ({}, seed {}) in {}; {} of them drawn now in {seconds:.1} s, {:.0} a second, \
         {:.1} % connected, {:.0} restarts an image",
        count(config.count),
        config.difficulty,
        config.seed,
        report.folder.display(),
        count(report.drawn),
        drawn / seconds.max(1e-9),
        100.0 * report.connected as f64 / drawn,
        report.restarts as f64 / drawn,
    ))
}
