//! What a text costs a language model, character by character.

use transformer_ls_burn::Segment;

use burn::tensor::activation::log_softmax;

use super::LanguageRun;
use super::generate::tokens;
use crate::evaluate::{EvaluateError, read_values};

/// How many of the model's best guesses are kept of each character.
pub const GUESSES: usize = 3;

/// What a character (a byte) costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Its id.
    pub id: u16,
    /// `−log₂` of the probability that the model gave it.
    pub bits: f64,
    /// The likeliest ids in its place with their probabilities, the likeliest first; those that a
    /// smaller vocabulary has not have probability 0.
    pub guesses: [(u16, f64); GUESSES],
}

/// What each character of a text costs, but the first, which nothing comes before: once and in order.
///
/// The model reads it in segments as long as it was trained on, with its memory carried over. `each`
/// is given the costs of a segment; they add up to what [`score`](super::score()) says of the text in one row.
///
/// # Errors
///
/// A device that fails, a model whose probabilities are no numbers, and what `each` says.
///
/// # Panics
///
/// Panics for an id that the model has not.
pub fn costs<E: From<EvaluateError>>(
    run: &LanguageRun,
    ids: &[u16],
    mut each: impl FnMut(&[Cost]) -> Result<(), E>,
) -> Result<(), E> {
    let mut memory = run.model.memory(1, run.memory);
    let mut done = 0;
    while done + 1 < ids.len() {
        let end = (ids.len() - 1).min(done + run.segment);
        let predictions = run.model.forward(Segment {
            tokens: tokens(&run.model, &ids[done..end], 1),
            memory,
            dropout_seed: None,
        });
        memory = predictions.memory;
        let vocabulary = run.model.vocabulary();
        let rows = predictions.logits.reshape([end - done, vocabulary]);
        let values = read_values(log_softmax(rows, 1))?;
        let targets = ids[done + 1..=end].iter();
        let costs: Result<Vec<Cost>, EvaluateError> = targets
            .zip(values.chunks_exact(vocabulary))
            .map(|(&id, row)| cost(id, row))
            .collect();
        let costs = costs?;
        each(&costs)?;
        done = end;
    }
    Ok(())
}

/// A character's cost, given the logarithm of each id's probability.
fn cost(id: u16, row: &[f32]) -> Result<Cost, EvaluateError> {
    let log = f64::from(row[usize::from(id)]);
    if !log.is_finite() {
        return Err(EvaluateError::NotANumber);
    }
    let mut best = [(0_u16, f32::NEG_INFINITY); GUESSES];
    for (id, &log) in (0..).zip(row) {
        let place = best.iter().position(|&(_, other)| log > other);
        if let Some(place) = place {
            best[place..].rotate_right(1);
            best[place] = (id, log);
        }
    }
    Ok(Cost {
        id,
        // A logarithm may be rounded to a little more than 0.
        bits: (-log / std::f64::consts::LN_2).max(0.0),
        guesses: best.map(|(id, log)| (id, f64::from(log).exp())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_the_bits_of_its_probability() {
        let row = [0.125_f32, 0.5, 0.0625, 0.25, 0.0625].map(f32::ln);
        let cost = cost(3, &row).unwrap();
        assert!((cost.bits - 2.0).abs() < 1e-6, "{cost:?}");
        let ids = cost.guesses.map(|(id, _)| id);
        assert_eq!(ids, [1, 3, 0]);
        for ((_, probability), wanted) in cost.guesses.into_iter().zip([0.5, 0.25, 0.125]) {
            assert!((probability - wanted).abs() < 1e-6, "{cost:?}");
        }
        assert!(super::cost(0, &[f32::NAN, 0.0]).is_err());
    }

    #[test]
    fn of_a_small_vocabulary_there_are_fewer_guesses() {
        let cost = cost(0, &[0.0]).unwrap();
        assert_eq!(cost.bits, 0.0);
        assert_eq!(cost.guesses[0], (0, 1.0));
        assert_eq!(cost.guesses[1].1, 0.0);
    }
}
