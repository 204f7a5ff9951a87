//! How well a model does on a data set: every sample counts once.

use std::ops::{ControlFlow, Range};
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use burn_dataset::Dataset;
use serde::{Deserialize, Serialize};
use transformer_ls_burn::Classifier;
use transformer_ls_datasets::Sample;

use crate::batch::{Batcher, longest_document};

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// There is nothing to evaluate.
    #[error("the data set has no samples: check the data folder")]
    Empty,
    /// The caller asked to stop.
    #[error("the evaluation was stopped after {done} of {total} samples")]
    Stopped {
        /// Samples done.
        done: usize,
        /// Samples in all.
        total: usize,
    },
    /// A sample cannot be had.
    #[error("sample {index} of the data set could not be read: {problem}; check the data files")]
    Unreadable {
        /// Its number, counted from 0.
        index: usize,
        /// The data set's own words.
        problem: String,
    },
    /// An answer is not a number.
    #[error(
        "the model's answer is not a number (NaN): its weights are damaged, or its training diverged; \
         use another run"
    )]
    NotANumber,
    /// A label is no class of the model.
    #[error("label {label} is none of the model's {classes} classes: was it trained on this task?")]
    Label {
        /// The label.
        label: u8,
        /// How many classes the model has.
        classes: usize,
    },
    /// The device failed.
    #[error("the device could not compute a batch: {0}; try `--device flex`")]
    Device(String),
}

/// How far an evaluation has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Samples done.
    pub done: usize,
    /// Samples in all.
    pub total: usize,
    /// Tokens done, padding left out.
    pub tokens: usize,
    /// Seconds so far.
    pub seconds: f64,
}

impl Progress {
    /// Samples a second so far.
    pub fn samples_per_second(&self) -> f64 {
        rate(self.done, self.seconds)
    }

    /// Tokens a second so far, padding left out.
    pub fn tokens_per_second(&self) -> f64 {
        rate(self.tokens, self.seconds)
    }
}

fn rate(count: usize, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => count as f64 / seconds,
        false => 0.0,
    }
}

/// The result of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy over all samples, in nats.
    pub loss: f64,
    /// The share of samples whose class was found, from 0 to 1.
    pub accuracy: f64,
    /// How many those are.
    pub correct: usize,
    /// Samples; where tokens are filled in, hidden tokens.
    pub samples: usize,
    /// Tokens, padding left out.
    pub tokens: usize,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Evaluation {
    /// Tokens a second, padding left out.
    pub fn tokens_per_second(&self) -> f64 {
        rate(self.tokens, self.seconds)
    }
}

/// Batches whose samples are sorted by length together.
const SORTED_BATCHES: usize = 16;

/// Evaluates a model on every sample of a data set, the last, smaller batch included.
///
/// Where the batcher gains by it, samples of like length are put together, some batches' worth at a
/// time: which samples are in a batch does not change their answers.
///
/// `progress` is called after every batch, and may ask to stop.
///
/// # Errors
///
/// An empty data set, a sample that cannot be read, a label that is no class of the model, an answer
/// that is not a number, a device that fails, or [`EvaluateError::Stopped`].
pub fn evaluate(
    model: &Classifier,
    dataset: &dyn Dataset<Sample>,
    batcher: &Batcher,
    batch_size: usize,
    device: &Device,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Evaluation, EvaluateError> {
    let sorted = batcher.gains_by_length();
    evaluate_by(dataset, batch_size, sorted, progress, &mut |_, samples| {
        let labels: Vec<u8> = samples.iter().map(|sample| sample.label).collect();
        let batch = batcher.fitting(samples).batch(samples, device, None);
        let tokens = batch.real_tokens;
        Ok(Judged {
            score: score(batch.logits(model), &labels)?,
            answers: samples.len(),
            tokens,
        })
    })
}

/// What is said of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The sums over all answers.
    pub score: Score,
    /// How many answers were judged: one a sample, if a sample is classified.
    pub answers: usize,
    /// Tokens, padding left out.
    pub tokens: usize,
}

/// Judges some samples, given how many were judged before.
pub type Judge<'a> = dyn FnMut(usize, &[Sample]) -> Result<Judged, EvaluateError> + 'a;

/// Judges every sample of a data set, batch by batch, given how many were judged before and the
/// samples: in the data set's order, or, `sorted`, those of like length together.
///
/// `progress` is called after every batch, and may ask to stop.
///
/// # Errors
///
/// As [`evaluate`], and what `judge` says.
pub fn evaluate_by(
    dataset: &dyn Dataset<Sample>,
    batch_size: usize,
    sorted: bool,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    judge: &mut Judge<'_>,
) -> Result<Evaluation, EvaluateError> {
    let total = dataset.len();
    if total == 0 {
        return Err(EvaluateError::Empty);
    }
    let begin = Instant::now();
    let (mut sum, mut done) = (Judged::default(), 0);
    let batch_size = batch_size.max(1);
    let at_once = match sorted {
        true => batch_size.saturating_mul(SORTED_BATCHES),
        false => batch_size,
    };
    while done < total {
        let end = total.min(done.saturating_add(at_once));
        let mut samples = read(dataset, done..end)?;
        if sorted {
            samples.sort_by_key(longest_document);
        }
        for samples in samples.chunks(batch_size) {
            let judged = judge(done, samples)?;
            sum.score += judged.score;
            sum.answers += judged.answers;
            sum.tokens += judged.tokens;
            done += samples.len();
            let state = Progress {
                done,
                total,
                tokens: sum.tokens,
                seconds: begin.elapsed().as_secs_f64(),
            };
            if progress(&state).is_break() && done < total {
                return Err(EvaluateError::Stopped { done, total });
            }
        }
    }
    let answers = sum.answers.max(1) as f64;
    Ok(Evaluation {
        loss: sum.score.loss_sum / answers,
        accuracy: sum.score.correct as f64 / answers,
        correct: sum.score.correct,
        samples: sum.answers,
        tokens: sum.tokens,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// Some samples of a data set.
pub(crate) fn read(
    dataset: &dyn Dataset<Sample>,
    indices: Range<usize>,
) -> Result<Vec<Sample>, EvaluateError> {
    let read = |index| {
        let problem = |error: burn_dataset::DatasetError| error.to_string();
        let sample = dataset.get(index).map_err(problem);
        sample.map_err(|problem| EvaluateError::Unreadable { index, problem })
    };
    indices.map(read).collect()
}

/// The score of some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// The sum of the cross-entropies, in nats.
    pub loss_sum: f64,
    /// How many classes were found.
    pub correct: usize,
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
    }
}

/// Scores logits against labels, on the host in double precision.
///
/// # Shapes
///
/// - logits: `[count, classes]`, with one label each
///
/// # Errors
///
/// A label that is no class, an answer that is not a number, or a device that fails.
pub fn score(logits: Tensor<2>, labels: &[u8]) -> Result<Score, EvaluateError> {
    let [_, classes] = logits.dims();
    let rows = read_rows(logits)?;
    let mut score = Score::default();
    for (row, &label) in rows.iter().zip(labels) {
        let logit = *row
            .get(usize::from(label))
            .ok_or(EvaluateError::Label { label, classes })?;
        let loss = log_sum_exp(row) - f64::from(logit);
        // Of logits that are numbers the loss is one, too.
        if !loss.is_finite() {
            return Err(EvaluateError::NotANumber);
        }
        score.loss_sum += loss;
        score.correct += usize::from(best_class(row) == Some(usize::from(label)));
    }
    Ok(score)
}

/// The probabilities of every class, from logits.
///
/// # Shapes
///
/// - logits: `[count, classes]`
///
/// # Errors
///
/// A device that fails.
pub fn probabilities(logits: Tensor<2>) -> Result<Vec<Vec<f32>>, EvaluateError> {
    let rows = read_rows(logits)?;
    let softmax = |row: &Vec<f32>| {
        let total = log_sum_exp(row);
        row.iter()
            .map(|&logit| (f64::from(logit) - total).exp() as f32)
            .collect()
    };
    Ok(rows.iter().map(softmax).collect())
}

/// The class with the highest value, the first of equals; none if a value is no number.
pub fn best_class(row: &[f32]) -> Option<usize> {
    if row.iter().any(|value| value.is_nan()) {
        return None;
    }
    // `max_by` takes the last of equals.
    let best = row.iter().enumerate().rev();
    best.max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(class, _)| class)
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let highest = row
        .iter()
        .map(|&logit| f64::from(logit))
        .fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row
        .iter()
        .map(|&logit| (f64::from(logit) - highest).exp())
        .sum();
    highest + sum.ln()
}

/// The rows of a float tensor, on the host.
fn read_rows(tensor: Tensor<2>) -> Result<Vec<Vec<f32>>, EvaluateError> {
    let [_, columns] = tensor.dims();
    let values = read_values(tensor)?;
    Ok(values
        .chunks_exact(columns.max(1))
        .map(<[f32]>::to_vec)
        .collect())
}

/// The values of a float tensor, on the host.
pub(crate) fn read_values(tensor: Tensor<2>) -> Result<Vec<f32>, EvaluateError> {
    let failed = |problem: String| EvaluateError::Device(problem);
    tensor
        .try_into_data_as::<f32>()
        .map_err(|error| failed(error.to_string()))?
        .try_into_vec::<f32>()
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_best_and_nan_is_none() {
        assert_eq!(best_class(&[0.0, 2.0, 2.0, 1.0]), Some(1));
        assert_eq!(best_class(&[-0.5]), Some(0));
        assert_eq!(best_class(&[0.0, f32::NAN]), None);
        assert_eq!(best_class(&[]), None);
    }

    #[test]
    fn log_sum_exp_is_stable() {
        // ln(e^0 + e^0) = ln 2, also a thousand higher.
        assert!((log_sum_exp(&[0.0, 0.0]) - std::f64::consts::LN_2).abs() < 1e-15);
        let high = log_sum_exp(&[1000.0, 1000.0]) - 1000.0;
        assert!((high - std::f64::consts::LN_2).abs() < 1e-12);
        assert!(log_sum_exp(&[f32::NAN, 0.0]).is_nan());
    }
}
