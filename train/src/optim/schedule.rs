//! A run's schedule: learning rate and β₁ as pure functions of the step, whichever was asked for.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;
use transformer_ls_infer::run::{ScheduleKind, TrainingConfig};

use super::warmup::After;
use super::{Beta1, OneCycle, OptimError, Warmup};

/// AdamW's β₁ under schedules that leave it alone: PyTorch's default.
const BETA1: f64 = 0.9;

/// How the learning rate moves, and β₁ with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
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
            learning_rate,
            ..
        } = *training;
        let after = match training.schedule {
            ScheduleKind::OneCycle => {
                return Ok(Self::OneCycle(OneCycle::new(steps, warmup, learning_rate)?));
            }
            ScheduleKind::Constant => After::Constant,
            ScheduleKind::Cosine => After::Cosine,
        };
        let schedule = Warmup::new(steps, warmup, learning_rate, after)?;
        Ok(Self::Warmup(schedule))
    }

    /// The learning rate of the optimizer step taken after `step` others.
    pub fn learning_rate(&self, step: usize) -> LearningRate {
        match self {
            Self::OneCycle(schedule) => schedule.learning_rate(step),
            Self::Warmup(schedule) => schedule.learning_rate(step),
        }
    }

    /// β₁ as [`AdamW`](super::AdamW) takes it.
    pub fn beta1(&self) -> Beta1 {
        match self {
            Self::OneCycle(schedule) => Beta1::Cycled(*schedule),
            Self::Warmup(_) => Beta1::Constant(BETA1),
        }
    }

    /// The same schedule for the places where Burn wants to ask for one learning rate a step.
    pub fn scheduler(self) -> StepScheduler {
        StepScheduler::at(self, 0)
    }
}

impl From<OneCycle> for Schedule {
    fn from(schedule: OneCycle) -> Self {
        Self::OneCycle(schedule)
    }
}

/// A [`Schedule`] as Burn's [`LrScheduler`]: a step counter over the pure function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepScheduler {
    schedule: Schedule,
    next: usize,
}

impl StepScheduler {
    /// A scheduler whose next [`step`](LrScheduler::step) answers for optimizer step `step`.
    pub fn at(schedule: Schedule, step: usize) -> Self {
        Self {
            schedule,
            next: step,
        }
    }
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
