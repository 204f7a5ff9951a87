//! Pathfinder of 32, 64 and 256 pixels a side, and Path-X of 128: pixels as ids, two classes.
//!
//! The protocol of 32 is Nyströmformer's (`LRA/code/lra_config.py`): batches of 256, 62400 steps,
//! the rate's peak at step 312, no weight decay, dev every 312 steps, half an epoch. Nobody
//! published one of this model for the larger sizes: they take as many tokens a step, in fewer
//! images, and evaluate as often an epoch.

use std::path::Path;
use std::sync::Arc;

use transformer_ls_datasets::pathfinder::{self, Size, generate};
use transformer_ls_datasets::{DatasetError, State, Task};
use transformer_ls_infer::run::{DataConfig, TrainingConfig};

use super::strong::{Numbers, Strong};
use super::{Cancelled, Generate, Generator, Prepared, Protocol};
use crate::trainer::progress::count;

/// The tokens of a step: 256 images of 32 × 32.
const TOKENS: usize = 256 * 1024;
/// The steps until the rate's peak, and between checkpoints.
const WARMUP: usize = 312;

/// Pathfinder of a size.
pub fn protocol(size: Size) -> Protocol {
    let batch_size = TOKENS / size.tokens();
    Protocol {
        task: Task::Pathfinder(size),
        about: about(size),
        strong: strong(size),
        seed: 1234,
        training: TrainingConfig {
            steps: 62_400,
            warmup: WARMUP,
            learning_rate: 1e-4,
            batch_size,
            evaluate_every: WARMUP * 256 / batch_size,
            checkpoint_every: WARMUP,
            eval_batch_size: batch_size,
            ..TrainingConfig::default()
        },
        about_data: format!(
            "200000 images are made, as published; `ls-train generate {} --count N` makes fewer. \
             What is made stays when it is stopped. Packed to train from they take another {:.1} GB \
             (in the folder `packed`, or --set cache=DIR). The published `lra_release.gz` \
             and a folder with `lra_release` in it serve, too.",
            size.task(),
            200_000.0 * size.tokens() as f64 / 1e9
        ),
        generate: Some(Arc::new(size)),
        own: None,
    }
}

fn about(size: Size) -> String {
    let side = size.side();
    match size {
        Size::N32 => {
            "Train and test on Pathfinder, making the images first where there are none".into()
        }
        Size::N128 => format!("The same with images of {side} × {side} pixels: Path-X"),
        _ => format!("The same with images of {side} × {side} pixels"),
    }
}

fn strong(size: Size) -> Strong {
    let small = Numbers {
        steps: 62_500,
        batch_size: 128,
        rates: [5e-4, 1e-3],
        mask: 0.5,
        ..Numbers::default()
    };
    let large = Numbers {
        steps: 100_000,
        warmup: 5000,
        ..small
    };
    Strong::of(match size {
        Size::N32 | Size::N64 => small,
        Size::N128 => Numbers {
            batch_size: 32,
            evaluate_every: 2500,
            ..large
        },
        Size::N256 => Numbers {
            batch_size: 8,
            evaluate_every: 5000,
            ..large
        },
    })
}

impl Generator for Size {
    fn state(&self, data: &DataConfig) -> Result<State, DatasetError> {
        pathfinder::state(&data.dir, *self, data.difficulty.unwrap_or_default())
    }

    fn make(
        &self,
        dir: &Path,
        what: &Generate,
        prepared: Prepared,
        cancelled: Cancelled,
    ) -> Result<String, DatasetError> {
        let mut config = generate::GenerateConfig::new(*self);
        config.count = what.count.unwrap_or(config.count);
        config.seed = what.seed.unwrap_or(config.seed);
        config.difficulty = what.difficulty.unwrap_or(config.difficulty);
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
}
