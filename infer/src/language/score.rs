//! How well a language model predicts a text: every byte but the first counts once.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData};
use transformer_ls_burn::{LanguageModel, Segment};
use transformer_ls_datasets::corpus::Scoring;

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The caller asked to stop.
    #[error("scoring was stopped")]
    Stopped,
    /// An answer is not a number.
    #[error(
        "the model's answer is not a number (NaN): its weights are damaged, or its training diverged; \
         use another run"
    )]
    NotANumber,
    /// The device failed.
    #[error("the device could not compute a segment: {0}; try `--device flex`")]
    Device(String),
}

/// How well a text was predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Sum of `−ln p` over all bytes that count.
    pub nats: f64,
    /// How many those are.
    pub characters: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Score {
    /// Mean `−log₂ p` of a byte.
    pub fn bits_per_character(&self) -> f64 {
        self.nats / self.characters as f64 / std::f64::consts::LN_2
    }

    /// Bytes a second.
    pub fn characters_per_second(&self) -> f64 {
        self.characters as f64 / self.seconds.max(1e-9)
    }
}

/// A segment that was scored.
#[derive(Clone, Debug)]
pub struct Scored<'a> {
    /// `−ln p` of each byte that counts, a row after the other.
    pub losses: &'a [Vec<f32>],
    /// The score so far.
    pub so_far: Score,
}

/// Reads a text from start to end in the rows and segments of `scoring`, with a memory of `memory` bytes
/// carried over, and hands each segment to `each`, which can stop it.
///
/// # Errors
///
/// See [`ScoreError`].
///
/// # Panics
///
/// Panics if the memory is not made of whole chunks, or an id of the text is none of the model's.
pub fn score(
    model: &LanguageModel,
    scoring: &Scoring,
    memory: usize,
    each: &mut dyn FnMut(Scored<'_>) -> ControlFlow<()>,
) -> Result<Score, ScoreError> {
    let started = Instant::now();
    let device = model.device();
    let rows = scoring.rows();
    let mut memory = model.memory(rows, memory);
    let mut score = Score::default();
    for segment in scoring.iter() {
        let [tokens, targets] = ids(&segment.ids, rows, &device);
        let read = Segment {
            tokens,
            memory,
            dropout_seed: None,
        };
        let (losses, next) = model.loss(read, targets);
        memory = next;
        let losses: Vec<f32> = losses
            .tokens
            .try_into_vec_as()
            .map_err(|error| ScoreError::Device(error.to_string()))?;
        let counted = losses.chunks(segment.inputs).zip(&segment.targets);
        let losses: Vec<Vec<f32>> = counted.map(|(row, &n)| row[..n].to_vec()).collect();
        let sum: f64 = losses.iter().flatten().map(|&loss| f64::from(loss)).sum();
        if !sum.is_finite() {
            return Err(ScoreError::NotANumber);
        }
        score.nats += sum;
        score.characters += losses.iter().map(|row| row.len() as u64).sum::<u64>();
        score.seconds = started.elapsed().as_secs_f64();
        let scored = Scored {
            losses: &losses,
            so_far: score,
        };
        if each(scored).is_break() {
            return Err(ScoreError::Stopped);
        }
    }
    Ok(score)
}

/// The inputs and targets of some rows of ids, `[rows, m]` each: a row's first and last `m` of its `m + 1`.
///
/// # Panics
///
/// Panics if the ids don't fill the rows.
pub fn ids(ids: &[u16], rows: usize, device: &Device) -> [Tensor<2, Int>; 2] {
    let length = ids.len() / rows;
    let ids = TensorData::new(ids.to_vec(), [rows, length]);
    let ids = Tensor::<2, Int>::from_data(ids, device);
    let inputs = length - 1;
    [0, 1].map(|start| ids.clone().narrow(1, start, inputs))
}
