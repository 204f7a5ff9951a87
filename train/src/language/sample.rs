//! A sample of what a model would write, to be looked at while it learns.

use burn::tensor::{Int, Tensor, TensorData, TensorReadError};
use transformer_ls_burn::LanguageModel;
use transformer_ls_datasets::draws::mix;

/// Below 1 likely bytes are drawn more often than the model has them: samples of a young model then read
/// better.
const TEMPERATURE: f64 = 0.8;

/// So many ids that the model draws after `prompt`, the same for the same seed. It reads in segments of
/// `segment` ids and remembers `memory`.
///
/// # Errors
///
/// The device fails.
pub(super) fn sample(
    model: &LanguageModel,
    prompt: &[u16],
    length: usize,
    (segment, memory): (usize, usize),
    seed: u64,
) -> Result<Vec<u16>, TensorReadError> {
    let mut decoding = model.decoding(model.memory(1, memory), segment);
    let mut unread = prompt.to_vec();
    let mut drawn = Vec::with_capacity(length);
    for number in 0..length as u64 {
        let read = TensorData::new(unread.clone(), [1, unread.len()]);
        let read = Tensor::<2, Int>::from_data(read, &model.device());
        let logits = model.decode(&mut decoding, read);
        let id = draw(&logits.try_into_vec_as::<f32>()?, mix(seed ^ mix(number)));
        drawn.push(id);
        unread = vec![id];
    }
    Ok(drawn)
}

/// An id by its probability, for a random number.
fn draw(logits: &[f32], random: u64) -> u16 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| (f64::from(logit - highest) / TEMPERATURE).exp();
    let sum: f64 = logits.iter().map(weight).sum();
    // 53 bits, which a double has room for.
    let mut left = sum * (random >> 11) as f64 / (1u64 << 53) as f64;
    for (id, logit) in (0..).zip(logits) {
        left -= weight(logit);
        if left < 0.0 {
            return id;
        }
    }
    (logits.len() - 1) as u16
}
