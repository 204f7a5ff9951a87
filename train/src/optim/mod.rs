//! The optimizer and the schedule of the Long Range Arena protocols, and what other protocols want.
//!
//! The reference runs use PyTorch's `AdamW` under `OneCycleLR(anneal_strategy="linear")`. That
//! scheduler moves two numbers: the learning rate, and β₁ the other way (its `cycle_momentum`
//! is on unless one turns it off, so the β₁ = 0.9 of a configuration never takes effect).
//! Burn 0.22 has no such schedule and its AdamW keeps β₁ fixed, hence these two:
//!
//! * [`OneCycle`]: both numbers as pure functions of the step;
//! * [`AdamW`]: the update, whose β₁ may follow a [`OneCycle`]; [`update`] takes a step of it with all
//!   parameters.
//!
//! Beside them there are the options of `TrainingConfig`: [`Warmup`] (a constant rate or a cosine),
//! [`clip_norm`], [`MovingAverage`], and float16 passes under a [`LossScale`]. [`Schedule`] is whichever
//! schedule a run asks for.
//!
//! ```
//! use transformer_ls_train::optim::{AdamWConfig, Beta1, OneCycle};
//!
//! let schedule = OneCycle::new(5000, 1000, 1e-4)?;
//! let optimizer = AdamWConfig {
//!     beta1: Beta1::Cycled(schedule),
//!     beta2: 0.999,
//!     epsilon: 1e-6,
//!     weight_decay: 0.0,
//! }
//! .init()?;
//! // for step in 0..5000 { model = update(&mut optimizer, schedule.learning_rate(step), model, grads); }
//! # let _ = optimizer;
//! # Ok::<(), transformer_ls_train::optim::OptimError>(())
//! ```

mod adamw;
mod average;
mod clip;
mod gather;
mod mixed;
mod one_cycle;
mod schedule;
mod warmup;

pub use adamw::{AdamW, AdamWConfig, AdamWState, Beta1};
pub use average::MovingAverage;
pub use clip::clip_norm;
pub use gather::update;
pub use mixed::{LossScale, are_finite, half_copy, unscaled};
pub use one_cycle::OneCycle;
pub use schedule::{Schedule, StepScheduler};
pub use warmup::{After, Warmup};

/// A setting with which no training is possible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptimError {
    /// A schedule of no steps.
    #[error("a schedule of 0 steps trains nothing: set `steps` to at least 1")]
    NoSteps,
    /// More warmup than schedule.
    #[error(
        "`warmup` is {warmup}, longer than the schedule of {steps} steps: \
         set `warmup` to {steps} or less, or raise `steps`"
    )]
    WarmupTooLong {
        /// Steps until the peak.
        warmup: usize,
        /// Steps of the schedule.
        steps: usize,
    },
    /// A number outside its range.
    #[error("`{name}` is {value}: it must be {range}")]
    OutOfRange {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be, in words.
        range: &'static str,
    },
}

/// Checks one setting against its range.
fn check(name: &'static str, value: f64, ok: bool, range: &'static str) -> Result<(), OptimError> {
    if ok {
        Ok(())
    } else {
        Err(OptimError::OutOfRange { name, value, range })
    }
}

/// Checks what every schedule is made of.
fn check_schedule(steps: usize, warmup: usize, max_learning_rate: f64) -> Result<(), OptimError> {
    if steps == 0 {
        return Err(OptimError::NoSteps);
    }
    if warmup > steps {
        return Err(OptimError::WarmupTooLong { warmup, steps });
    }
    let ok = max_learning_rate.is_finite() && max_learning_rate > 0.0;
    check(
        "learning_rate",
        max_learning_rate,
        ok,
        "positive and finite",
    )
}
