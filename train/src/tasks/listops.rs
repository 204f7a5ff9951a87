//! ListOps: the value of an expression of nested lists, up to 2000 tokens, ten classes.
//!
//! The protocol of the published presets is the one of the Transformer-LS release (`lra/`): batches
//! of 32, 5000 steps, the rate's peak at step 1000, dev every 50 steps, the best on dev tested once.
//! The release drops each split's last partial batch; here every sample counts.

use std::path::Path;
use std::sync::Arc;

use transformer_ls_datasets::listops::{self, Tokenizer, generate};
use transformer_ls_datasets::{DatasetError, State, Task};
use transformer_ls_infer::run::{DataConfig, TrainingConfig};

use super::strong::{Numbers, Strong};
use super::{Cancelled, Generate, Generator, Own, Prepared, Protocol};
use crate::trainer::progress::count;

/// ListOps as the Transformer-LS release trains it.
///
/// The tokens default to [`Tokenizer::Brackets`], which keep the tree. The published figure belongs to
/// [`Tokenizer::Legacy`], which lose it (`--tokenizer legacy`).
pub fn protocol() -> Protocol {
    Protocol {
        task: Task::ListOps,
        about: "Train and test on ListOps, making the data first where there is none".to_owned(),
        strong: Strong::of(Numbers::default()),
        seed: 1234,
        training: TrainingConfig {
            steps: 5000,
            warmup: 1000,
            learning_rate: 1e-4,
            evaluate_every: 50,
            checkpoint_every: 50,
            ..TrainingConfig::default()
        },
        about_data:
            "Making it takes 661 MB; for listops-values, in data/listops-short, 52 MB. The \
                     published `lra_release.gz` and a folder with `lra_release` in it serve, too."
                .to_owned(),
        generate: Some(Arc::new(Trees)),
        own: Some(values()),
    }
}

/// ListOps for a model that works expressions out: short ones first, with the values inside them.
///
/// Both are ours. `docs/results.md` has what they come to, and what else was tried.
fn values() -> Own {
    Own {
        preset: "listops-values",
        training: TrainingConfig {
            steps: 14_000,
            warmup: 200,
            learning_rate: 1.5e-3,
            weight_decay: 0.01,
            batch_size: 64,
            evaluate_every: 1000,
            checkpoint_every: 500,
            eval_batch_size: 256,
            clip_norm: Some(1.0),
            inner_values: true,
            ..TrainingConfig::default()
        },
        tokenizer: Tokenizer::Depths,
        folder: Path::new("data").join("listops-short"),
        data: Generate {
            count: Some(400_000),
            lengths: [Some(SHORTEST), Some(100)],
            ..Generate::default()
        },
    }
}

/// The tokens of an operation on two digits.
const SHORTEST: usize = 4;

/// The generator.
#[derive(Debug)]
struct Trees;

impl Generator for Trees {
    fn state(&self, data: &DataConfig) -> Result<State, DatasetError> {
        listops::state(&data.dir)
    }

    fn make(
        &self,
        dir: &Path,
        what: &Generate,
        prepared: Prepared,
        cancelled: Cancelled,
    ) -> Result<String, DatasetError> {
        let mut config = generate::GenerateConfig::default();
        config.count = what.count.unwrap_or(config.count);
        config.seed = what.seed.unwrap_or(config.seed);
        if what.lengths != [None; 2] {
            let [least, most] = what.lengths;
            let least = least.unwrap_or(SHORTEST);
            config.lengths = least..=most.unwrap_or(*config.lengths.end().max(&least));
        }
        let report = generate::generate(dir, &config, prepared, cancelled)?;
        let [train, dev, test] = report.counts.map(count);
        Ok(format!(
            "{train} train, {dev} dev and {test} test expressions, {:.0} MB in {:.1} s (seed {}; {:.1} % \
             of the trees drawn have the right length)",
            report.bytes as f64 / 1e6,
            report.elapsed.as_secs_f64(),
            config.seed,
            100.0 * report.acceptance(),
        ))
    }
}
