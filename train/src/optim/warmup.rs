//! A linear warmup, then a constant learning rate or half a cosine: what most training scripts do.
//!
//! The cosine is Loshchilov and Hutter's (arXiv 1608.03983) without restarts, as PyTorch's
//! `CosineAnnealingLR` computes it with `eta_min=0`.

use burn::optim::LearningRate;

use super::{OptimError, check_schedule};

/// What follows the warmup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The peak for ever.
    Constant,
    /// Half a cosine, which would reach 0 at the step after the last.
    Cosine,
}

/// A learning rate that rises on a line to its peak; then see [`After`].
///
/// Steps count from 0, as in [`OneCycle`](super::OneCycle), and as there the peak is at step
/// `warmup − 1`. So no step is taken at rate 0. Past the last step the rate stays where it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup {
    steps: usize,
    warmup: usize,
    max_learning_rate: f64,
    after: After,
}

impl Warmup {
    /// A schedule of `steps` optimizer steps that peaks after `warmup` of them.
    ///
    /// # Errors
    ///
    /// Refuses a schedule without steps, a warmup longer than the schedule, and a learning rate
    /// that is not positive and finite.
    pub fn new(
        steps: usize,
        warmup: usize,
        max_learning_rate: f64,
        after: After,
    ) -> Result<Self, OptimError> {
        check_schedule(steps, warmup, max_learning_rate)?;
        Ok(Self {
            steps,
            warmup,
            max_learning_rate,
            after,
        })
    }

    /// The learning rate of the optimizer step taken after `step` others.
    pub fn learning_rate(&self, step: usize) -> LearningRate {
        let step = step.min(self.steps - 1);
        if step < self.warmup {
            return self.max_learning_rate * ((step + 1) as f64 / self.warmup as f64);
        }
        let share = match self.after {
            After::Constant => 1.0,
            After::Cosine => {
                let done = (step - self.warmup) as f64 / (self.steps - self.warmup) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        self.max_learning_rate * share
    }
}
