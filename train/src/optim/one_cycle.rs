//! The linear one-cycle schedule: learning rate and β₁ as pure functions of the step.
//!
//! Smith and Topin, "Super-Convergence" (arXiv 1708.07120), in the form that PyTorch's
//! `OneCycleLR` gives it with `anneal_strategy="linear"` and its other defaults. Formulas are in
//! PyTorch's order of operations, so values agree to the last bits of an f64.

use burn::optim::LearningRate;

use super::{OptimError, check_schedule};

/// How far below its peak the learning rate starts (`div_factor`).
const INITIAL_DIVISOR: f64 = 25.0;
/// How far below its start the learning rate ends (`final_div_factor`).
const FINAL_DIVISOR: f64 = 1e4;
/// β₁ at the start and at the end (`max_momentum`).
const BETA1_REST: f64 = 0.95;
/// β₁ at the peak of the learning rate (`base_momentum`).
const BETA1_PEAK: f64 = 0.85;

/// A linear one-cycle schedule.
///
/// Steps count from 0: step `k` is the optimizer step taken after `k` others. The learning rate
/// rises on a line from max/25 to max at step `warmup − 1`, then falls on a line to max/25e4 at
/// step `steps − 1`; β₁ goes from 0.95 to 0.85 and back at the same steps. Past the last step
/// both stay where they ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    steps: usize,
    warmup: usize,
    max_learning_rate: f64,
}

impl OneCycle {
    /// A schedule of `steps` optimizer steps that peaks after `warmup` of them.
    ///
    /// # Errors
    ///
    /// Refuses a schedule without steps, a warmup longer than the schedule, and a learning rate
    /// that is not positive and finite.
    pub fn new(steps: usize, warmup: usize, max_learning_rate: f64) -> Result<Self, OptimError> {
        check_schedule(steps, warmup, max_learning_rate)?;
        Ok(Self {
            steps,
            warmup,
            max_learning_rate,
        })
    }

    /// The learning rate of the optimizer step taken after `step` others.
    pub fn learning_rate(&self, step: usize) -> LearningRate {
        let initial = self.max_learning_rate / INITIAL_DIVISOR;
        let last = initial / FINAL_DIVISOR;
        self.anneal(step, initial, self.max_learning_rate, last)
    }

    /// β₁ of the optimizer step taken after `step` others.
    pub fn beta1(&self, step: usize) -> f64 {
        self.anneal(step, BETA1_REST, BETA1_PEAK, BETA1_REST)
    }

    /// From `start` through `peak` to `end`, on two lines.
    fn anneal(&self, step: usize, start: f64, peak: f64, end: f64) -> f64 {
        let steps = self.steps as f64;
        // PyTorch is given the peak as a fraction of the schedule and multiplies back.
        let peak_step = self.warmup as f64 / steps * steps - 1.0;
        let last_step = steps - 1.0;
        let step = (step as f64).min(last_step);
        // Where a line has no length (a warmup of one step, or of the whole schedule) its end
        // counts; PyTorch divides by zero there.
        let line = |from: f64, to: f64, begin: f64, finish: f64| {
            if finish > begin {
                (to - from) * ((step - begin) / (finish - begin)) + from
            } else {
                to
            }
        };
        if step <= peak_step {
            line(start, peak, 0.0, peak_step)
        } else {
            line(peak, end, peak_step, last_step)
        }
    }
}
