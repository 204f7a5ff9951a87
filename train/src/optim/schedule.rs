//! A run's schedule: learning rate and β₁ as pure functions of the step, whichever was asked for.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;
use transformer_ls_infer::run::{RateChange, ScheduleKind, TrainingConfig};

use super::warmup::After;
use super::{Beta1, OneCycle, OptimError, Warmup};

/// AdamW's β₁ under schedules that leave it alone: PyTorch's default.
const BETA1: f64 = 0.9;

/// How the learning rate moves, and β₁ with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    shape: Shape,
    /// The peak that the shape has.
    peak: f64,
    changes: Vec<RateChange>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Both move.
    OneCycle(OneCycle),
    /// The learning rate moves; β₁ is 0.9.
    Warmup(Warmup),
}

impl Schedule {
    /// The schedule that a run's configuration names.
    ///
    /// # Errors
    ///
    /// Refuses a schedule without steps, a warmup longer than the schedule, and a learning rate
    /// that is not positive and finite.
    pub fn new(training: &TrainingConfig) -> Result<Self, OptimError> {
        let TrainingConfig {
            steps,
            warmup,
            learning_rate: peak,
            ..
        } = *training;
        let after = |after| Warmup::new(steps, warmup, peak, after).map(Shape::Warmup);
        let shape = match training.schedule {
            ScheduleKind::OneCycle => Shape::OneCycle(OneCycle::new(steps, warmup, peak)?),
            ScheduleKind::Constant => after(After::Constant)?,
            ScheduleKind::Cosine => after(After::Cosine)?,
        };
        Ok(Self {
            shape,
            peak,
            changes: training.rate_changes.clone(),
        })
    }

    /// The learning rate of the optimizer step taken after `step` others.
    pub fn learning_rate(&self, step: usize) -> LearningRate {
        let rate = match self.shape {
            Shape::OneCycle(schedule) => schedule.learning_rate(step),
            Shape::Warmup(schedule) => schedule.learning_rate(step),
        };
        let mut begun = self.changes.iter().rev();
        match begun.find(|change| change.step <= step) {
            // Every shape is as high as its peak.
            Some(change) => rate * (change.learning_rate / self.peak),
            None => rate,
        }
    }

    /// β₁ as [`AdamW`](super::AdamW) takes it.
    pub fn beta1(&self) -> Beta1 {
        match self.shape {
            Shape::OneCycle(schedule) => Beta1::Cycled(schedule),
            Shape::Warmup(_) => Beta1::Constant(BETA1),
        }
    }

    /// The same schedule for the places where Burn wants to ask for one learning rate a step.
    pub fn scheduler(self) -> StepScheduler {
        StepScheduler {
            schedule: self,
            next: 0,
        }
    }
}

/// A [`Schedule`] as Burn's [`LrScheduler`]: a step counter over the pure function.
#[derive(Clone, Debug, PartialEq)]
pub struct StepScheduler {
    schedule: Schedule,
    next: usize,
}

impl LrScheduler for StepScheduler {
    fn step(&mut self) -> LearningRate {
        let learning_rate = self.schedule.learning_rate(self.next);
        self.next += 1;
        learning_rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("next", self.next)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(next) = record.scalar("next") {
            self.next = next;
        }
    }
}
