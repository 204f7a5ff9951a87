//! How the strong presets are trained, and how any preset is pretrained.
//!
//! Rates, masking and what is masked are those of Amos et al. 2024, "Never Train from Scratch": AdamW, a
//! warmup of some thousand steps and a constant rate, batches of 8, 32 or 128. Which task has which
//! of these, the lengths, the weight decay and how often dev is evaluated are ours.

use transformer_ls_burn::Reconstruction;
use transformer_ls_infer::run::{PretrainingConfig, ScheduleKind, TrainingConfig};

/// A task's own numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Strong {
    /// How the strong preset is trained to classify.
    pub training: TrainingConfig,
    /// The learning rate where tokens are filled in.
    pub pretraining_rate: f64,
    /// How tokens are hidden, and how the model's answers are compared with them.
    pub pretraining: PretrainingConfig,
}

/// What the tasks differ in; those of ListOps by default.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub steps: usize,
    pub warmup: usize,
    pub batch_size: usize,
    pub evaluate_every: usize,
    /// To classify, and to fill in.
    pub rates: [f64; 2],
    pub mask: f64,
    pub compared_by: Reconstruction,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            steps: 50_000,
            warmup: 2000,
            batch_size: 32,
            evaluate_every: 1000,
            rates: [1e-4, 1e-3],
            mask: 0.1,
            compared_by: Reconstruction::CrossEntropy,
        }
    }
}

impl Strong {
    pub(super) fn of(numbers: Numbers) -> Self {
        let [classify, fill_in] = numbers.rates;
        Self {
            training: TrainingConfig {
                steps: numbers.steps,
                warmup: numbers.warmup,
                learning_rate: classify,
                weight_decay: 0.01,
                epsilon: 1e-8,
                batch_size: numbers.batch_size,
                evaluate_every: numbers.evaluate_every,
                checkpoint_every: numbers.evaluate_every.min(1000),
                eval_batch_size: numbers.batch_size,
                schedule: ScheduleKind::Constant,
                ..Default::default()
            },
            pretraining_rate: fill_in,
            pretraining: PretrainingConfig {
                mask: numbers.mask,
                compared_by: numbers.compared_by,
            },
        }
    }
}
