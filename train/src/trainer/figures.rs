//! The figures of a step: tensors until they are read, then numbers, then what
//! `burn-train`'s dashboard draws.
//!
//! `burn-train`'s own loss and accuracy metrics read a tensor back at every update, which
//! makes a GPU wait for the host at every step. Here a step hands out its loss and hits as
//! tensors; the loop reads them for several steps in one go ([`Ledger`]) and passes
//! numbers on to the metrics below.

use std::sync::Arc;

use burn::backend::ExecutionError;
use burn::tensor::{Int, Tensor, TensorReadError};
use burn::train::ItemLazy;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};
use serde::{Deserialize, Serialize};
use transformer_ls_infer::run::null_as_nan;

/// Sums over the training steps since the last line of `metrics.jsonl`.
///
/// Part of a checkpoint: a mean over 50 steps is the same whether the run was
/// interrupted among them or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Sum of the samples' losses.
    #[serde(deserialize_with = "null_as_nan")]
    pub loss: f64,
    /// Samples classified rightly.
    pub hits: u64,
    /// Samples.
    pub samples: u64,
    /// Real tokens, padding not counted.
    pub tokens: u64,
    /// Seconds spent in training steps.
    pub seconds: f64,
}

impl Sums {
    /// Adds `other`.
    pub fn add(&mut self, other: &Sums) {
        self.loss += other.loss;
        self.hits += other.hits;
        self.samples += other.samples;
        self.tokens += other.tokens;
        self.seconds += other.seconds;
    }

    /// Mean loss a sample.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    /// Share of samples classified rightly.
    pub fn accuracy(&self) -> f64 {
        self.hits as f64 / self.samples as f64
    }

    /// Real tokens a second; 0 before any time was measured.
    pub fn tokens_per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.tokens as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// One step's results on the device.
#[derive(Debug)]
pub struct Pending {
    /// Mean loss of the batch, without its graph; shape `[1]`.
    pub loss: Tensor<1>,
    /// Samples classified rightly; shape `[1]`.
    pub hits: Tensor<1, Int>,
    /// Samples in the batch.
    pub samples: usize,
    /// Real tokens in the batch.
    pub tokens: usize,
    /// Whether the step was skipped because the gradient overflowed float16.
    pub skipped: bool,
}

impl Pending {
    /// The numbers, read from the device.
    ///
    /// # Errors
    ///
    /// When the device's work failed.
    pub fn read(&self) -> Result<Sums, TensorReadError> {
        read_all(std::slice::from_ref(self))
    }

    /// A step's results from those of its parts.
    pub fn join(parts: Vec<Self>) -> Self {
        let samples = parts.iter().map(|part| part.samples).sum::<usize>();
        let weighted = |part: Self| Self {
            loss: part.loss.mul_scalar(part.samples as f64 / samples as f64),
            ..part
        };
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else {
            unreachable!("a step has at least one part");
        };
        if parts.len() == 0 {
            return first;
        }
        parts.map(weighted).fold(weighted(first), |sum, part| Self {
            loss: sum.loss.add(part.loss),
            hits: sum.hits.add(part.hits),
            samples: sum.samples + part.samples,
            tokens: sum.tokens + part.tokens,
            skipped: sum.skipped || part.skipped,
        })
    }
}

// The loop hands numbers on: there is nothing to wait for.
impl ItemLazy for Sums {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// Sums of several steps with one read each of losses and hits (seconds are left at 0).
fn read_all(steps: &[Pending]) -> Result<Sums, TensorReadError> {
    let mut sums = Sums::default();
    if steps.is_empty() {
        return Ok(sums);
    }
    let losses = Tensor::cat(steps.iter().map(|s| s.loss.clone()).collect(), 0);
    let hits = Tensor::cat(steps.iter().map(|s| s.hits.clone()).collect(), 0);
    let losses: Vec<f32> = losses.try_into_vec_as()?;
    let hits: Vec<i64> = hits.try_into_vec_as()?;
    for ((step, loss), hits) in steps.iter().zip(losses).zip(hits) {
        sums.tokens += step.tokens as u64;
        // The pass itself left float16: it says nothing about the weights, which are unchanged.
        if step.skipped && !loss.is_finite() {
            continue;
        }
        sums.loss += f64::from(loss) * step.samples as f64;
        sums.hits += hits.max(0) as u64;
        sums.samples += step.samples as u64;
    }
    Ok(sums)
}

/// Steps whose figures have not been read yet.
#[derive(Debug, Default)]
pub struct Ledger {
    steps: Vec<Pending>,
}

impl Ledger {
    /// Enters a step.
    pub fn enter(&mut self, step: Pending) {
        self.steps.push(step);
    }

    /// Steps entered since the last read.
    pub fn unread(&self) -> usize {
        self.steps.len()
    }

    /// Reads and forgets them all.
    ///
    /// # Errors
    ///
    /// When the device's work failed.
    pub fn read(&mut self) -> Result<Sums, TensorReadError> {
        let sums = read_all(&self.steps)?;
        self.steps.clear();
        Ok(sums)
    }
}

impl Adaptor<Sums> for Sums {
    fn adapt(&self) -> Sums {
        *self
    }
}

/// A number of the dashboard, picked from the [`Sums`] of an event or from where it happens.
#[derive(Clone)]
pub struct Figure {
    name: MetricName,
    unit: Option<&'static str>,
    precision: usize,
    higher_is_better: bool,
    pick: fn(&Sums, &MetricMetadata) -> f64,
    state: NumericMetricState,
}

impl Figure {
    /// The mean loss.
    pub fn loss() -> Self {
        Self::new("Loss", None, 4, false, |sums, _| sums.mean_loss())
    }

    /// The accuracy in percent.
    pub fn accuracy() -> Self {
        Self::new("Accuracy", Some("%"), 2, true, |sums, _| {
            100.0 * sums.accuracy()
        })
    }

    /// Real tokens a second.
    pub fn tokens_per_second() -> Self {
        Self::new("Tokens", Some("tokens/s"), 0, true, |sums, _| {
            sums.tokens_per_second()
        })
    }

    /// The learning rate, for Burn's own metric speaks of epochs.
    pub fn learning_rate() -> Self {
        Self::new("Learning Rate", None, 2, true, |_, place| {
            place.lr.as_ref().map_or(0.0, |rates| rates.base())
        })
    }

    fn new(
        name: &str,
        unit: Option<&'static str>,
        precision: usize,
        higher_is_better: bool,
        pick: fn(&Sums, &MetricMetadata) -> f64,
    ) -> Self {
        Self {
            name: Arc::new(name.to_string()),
            unit,
            precision,
            higher_is_better,
            pick,
            state: NumericMetricState::new(),
        }
    }

    fn format(&self) -> FormatOptions {
        let options = FormatOptions::new(self.name.clone()).precision(self.precision);
        match self.unit {
            Some(unit) => options.unit(unit),
            None => options,
        }
    }
}

impl Metric for Figure {
    type Input = Sums;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: self.unit.map(str::to_string),
            higher_is_better: self.higher_is_better,
        }
        .into()
    }

    fn update(
        &mut self,
        sums: &Sums,
        place: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        if sums.samples > 0 {
            let value = (self.pick)(sums, place);
            self.state.update(value, sums.samples as usize);
        }
        Ok(without_epochs(self.state.compute_update(self.format())))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(without_epochs(self.state.compute_final(self.format())))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

/// There are no epochs, only intervals between evaluations.
fn without_epochs(mut entry: SerializedEntry) -> SerializedEntry {
    let words = [("epoch", "mean"), ("batch", "last")];
    for (theirs, ours) in words {
        entry.formatted = entry.formatted.replace(theirs, ours);
    }
    entry
}

impl Numeric for Figure {
    /// What the dashboard draws: the mean since the last evaluation. A batch's own value is noise.
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::data::dataloader::Progress;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_dashboard_draws_the_mean_since_the_last_evaluation() {
        let mut figure = Figure::loss();
        let place = MetricMetadata {
            progress: Progress::new(1, 1, None),
            iteration: None,
            lr: None,
        };
        let mut update = |loss: f64, samples: u64| {
            let sums = Sums {
                loss: loss * samples as f64,
                samples,
                ..Sums::default()
            };
            figure.update(&sums, &place).expect("numbers").formatted
        };
        assert_eq!(update(1.0, 1), "mean 1.0000 - last 1.0000");
        assert_eq!(update(3.0, 3), "mean 2.5000 - last 3.0000");
        let drawn = figure.value().expect("a value").current();
        assert_eq!(drawn, 2.5);
        assert!(
            !figure
                .compute()
                .expect("numbers")
                .formatted
                .contains("epoch")
        );
    }

    #[test]
    fn a_skipped_step_whose_loss_left_float16_counts_for_its_tokens_alone() {
        let device = Device::flex();
        let step = |loss: f32, skipped| Pending {
            loss: Tensor::from_floats([loss], &device),
            hits: Tensor::from_ints([2], &device),
            samples: 4,
            tokens: 100,
            skipped,
        };
        let of = |steps: &[Pending]| read_all(steps).unwrap();
        let sums = of(&[step(0.5, false), step(f32::NAN, true), step(1.0, true)]);
        assert_eq!((sums.loss, sums.hits, sums.samples), (6.0, 4, 8));
        assert_eq!(sums.tokens, 300);
        // Weights that were updated by it are lost.
        assert!(of(&[step(f32::NAN, false)]).mean_loss().is_nan());
    }
}
