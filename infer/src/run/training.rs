//! How a run trains: a protocol's numbers, and the options that protocols leave off.

use serde::{Deserialize, Serialize};

/// How the learning rate moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Up on a line and down on a line, AdamW's β₁ the other way: PyTorch's `OneCycleLR`, which the
    /// published protocols use.
    #[default]
    OneCycle,
    /// Up on a line, then as it is; β₁ is 0.9.
    Constant,
    /// Up on a line, then down to 0 on half a cosine; β₁ is 0.9.
    Cosine,
}

/// What the forward and the backward pass of a step compute in. Weights and updates are float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32
    #[default]
    F32,
    /// float16 under a loss scale, on GPUs that compute in it.
    F16,
}

/// A change of the learning rate by a resume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateChange {
    /// The steps taken before.
    pub step: usize,
    /// The peak of the schedule from this step on.
    pub learning_rate: f64,
}

/// How a model is trained: the protocol's numbers.
///
/// The fields from `schedule` on are off unless they are asked for, and in configurations that were
/// written before there were any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// The length of the schedule, in optimizer steps. 0 for a model that was trained elsewhere.
    pub steps: usize,
    /// The steps until the learning rate's peak.
    pub warmup: usize,
    /// The learning rate at its peak.
    pub learning_rate: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// AdamW's β₂ (β₁ follows the schedule).
    pub beta2: f64,
    /// AdamW's ε.
    pub epsilon: f64,
    /// Samples a step.
    pub batch_size: usize,
    /// Steps between evaluations on dev.
    pub evaluate_every: usize,
    /// Steps between checkpoints: what a kill can cost at most.
    pub checkpoint_every: usize,
    /// Samples a batch when evaluating.
    pub eval_batch_size: usize,
    /// How the learning rate moves.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// Into how many parts a step's samples are cut, each with a forward and a backward pass of its
    /// own. The step's gradient stays the mean over all its samples; less memory is needed.
    #[serde(default = "whole")]
    pub accumulate: usize,
    /// The greatest norm that a step's gradient, all parameters together, may have: a longer one is
    /// scaled down to it. `null`: no limit.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// The share of a sample's target that goes to all classes alike, in the loss that is trained.
    /// The losses of evaluations have none.
    #[serde(default)]
    pub label_smoothing: f64,
    /// The decay, a step, of the moving average of the weights that is evaluated, kept and tested
    /// in place of the weights themselves. `null`: no average.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Learn the values inside an expression, and not of the whole alone: of each operation at its closing
    /// bracket, and at each digit what the operation around it would come to if it were closed there. For
    /// ListOps with `brackets` or `depths`, and `pooling=last`.
    #[serde(default)]
    pub inner_values: bool,
    /// What a step's passes compute in.
    #[serde(default)]
    pub precision: Precision,
    /// The learning rates that the run was resumed with, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_changes: Vec<RateChange>,
}

/// A step that is not cut.
fn whole() -> usize {
    1
}

impl Default for TrainingConfig {
    /// No steps, as for a model that was trained elsewhere, and every option off: what a protocol
    /// does not name.
    fn default() -> Self {
        Self {
            steps: 0,
            warmup: 0,
            learning_rate: 0.0,
            weight_decay: 0.0,
            beta2: 0.999,
            epsilon: 1e-6,
            batch_size: 32,
            evaluate_every: 1,
            checkpoint_every: 1,
            eval_batch_size: 32,
            schedule: ScheduleKind::default(),
            accumulate: whole(),
            clip_norm: None,
            label_smoothing: 0.0,
            ema: None,
            inner_values: false,
            precision: Precision::default(),
            rate_changes: Vec::new(),
        }
    }
}

impl TrainingConfig {
    /// The peak of the learning rate after the changes so far.
    pub fn present_rate(&self) -> f64 {
        let last = self.rate_changes.last();
        last.map_or(self.learning_rate, |change| change.learning_rate)
    }

    /// Has another learning rate from `step` on. One that was to begin there, or later, never does.
    pub fn change_rate(&mut self, step: usize, learning_rate: f64) {
        self.rate_changes.retain(|change| change.step < step);
        self.rate_changes.push(RateChange {
            step,
            learning_rate,
        });
    }

    /// What makes no sense, a sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("evaluate_every", self.evaluate_every),
            ("checkpoint_every", self.checkpoint_every),
            ("accumulate", self.accumulate),
        ] {
            if value == 0 {
                problems.push(format!("`training.{field}` must be at least 1."));
            }
        }
        if self.warmup > self.steps {
            problems.push(format!(
                "`training.warmup` is {}, which is more than `training.steps` ({}).",
                self.warmup, self.steps
            ));
        }
        if self.batch_size > 0 && self.accumulate > self.batch_size {
            problems.push(format!(
                "`training.accumulate` is {}, and {} samples (`training.batch_size`, those of a \
                 whole step) cannot be cut into so many parts.",
                self.accumulate, self.batch_size
            ));
        }
        let mut must = |field: &str, value: f64, ok: bool, range: &str| {
            if !ok {
                problems.push(format!("`training.{field}` must {range}, and is {value}."));
            }
        };
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        for (field, value) in [
            ("learning_rate", self.learning_rate),
            ("epsilon", self.epsilon),
        ] {
            must(field, value, above_0(value), "be above 0");
        }
        for change in &self.rate_changes {
            let value = change.learning_rate;
            must("rate_changes", value, above_0(value), "hold rates above 0");
        }
        let decay = self.weight_decay;
        let at_least_0 = decay.is_finite() && decay >= 0.0;
        must("weight_decay", decay, at_least_0, "be 0 or more");
        let inside = |value: f64| value > 0.0 && value < 1.0;
        let between = "lie between 0 and 1";
        must("beta2", self.beta2, inside(self.beta2), between);
        if let Some(norm) = self.clip_norm {
            must("clip_norm", norm, above_0(norm), "be above 0 (or null)");
        }
        let smoothing = self.label_smoothing;
        let below_1 = (0.0..1.0).contains(&smoothing);
        must("label_smoothing", smoothing, below_1, "lie in [0, 1)");
        if let Some(decay) = self.ema {
            let range = "lie between 0 and 1 (or be null)";
            must("ema", decay, inside(decay), range);
        }
        problems
    }
}
