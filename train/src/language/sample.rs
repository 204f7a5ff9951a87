//! A sample of what a model would write, to be looked at while it learns.

use burn::tensor::TensorReadError;
use transformer_ls_burn::{LanguageModel, Predictions, Segment};
use transformer_ls_datasets::draws::mix;
use transformer_ls_infer::language::ids;

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
    let device = model.device();
    let mut memory = model.memory(1, memory);
    let mut open = prompt.to_vec();
    let mut drawn = Vec::with_capacity(length);
    for number in 0..length as u64 {
        // The targets that the ids are split off as are not looked at.
        let with_target = [&open[..], &[0]].concat();
        let [tokens, _] = ids(&with_target, 1, &device);
        let read = Segment {
            tokens,
            memory: memory.clone(),
            dropout_seed: None,
        };
        let Predictions {
            logits,
            memory: next,
        } = model.forward(read);
        let last = logits.narrow(1, open.len() - 1, 1);
        let id = draw(&last.try_into_vec_as::<f32>()?, mix(seed ^ mix(number)));
        if open.len() >= segment {
            memory = next;
            open.clear();
        }
        open.push(id);
        drawn.push(id);
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
