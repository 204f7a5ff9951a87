//! Choosing the next character from a model's scores, on the host.

use std::cmp::Ordering;
use std::collections::VecDeque;

use transformer_ls_datasets::draws::{Draws, PcgDraws};

/// How the next character is chosen. The parts apply in the order in which they stand here: first
/// the penalty, then the temperature, and what is left of the distribution after `top_k` goes
/// through `top_p`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// The scores of characters that came lately are divided by this, or, below 0, multiplied
    /// (Keskar et al. 2019, section 4.1, with the sign of a score respected); 1 for no penalty.
    pub repetition_penalty: f64,
    /// How many of the last characters, the prompt's included, count as lately.
    pub repetition_window: usize,
    /// Scores are divided by this: below 1 likely characters become likelier. At 0 the likeliest is
    /// taken always, the one with the lowest id of equals.
    pub temperature: f64,
    /// Only so many of the likeliest characters are left.
    pub top_k: Option<usize>,
    /// Only the fewest of the likeliest characters are left whose probabilities add up to at least
    /// this (Holtzman et al. 2020, section 3.1); 1 for all.
    pub top_p: f64,
}

impl Default for Sampling {
    /// From the model's own distribution.
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            repetition_window: 64,
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
        }
    }
}

impl Sampling {
    /// Always the likeliest character.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    ///
    /// The first that makes no sense, and what it has to be.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let problem = if !(self.repetition_penalty >= 1.0 && self.repetition_penalty.is_finite()) {
            "the repetition penalty has to be a number from 1 (no penalty)"
        } else if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            "the temperature has to be a number from 0 (always the likeliest character)"
        } else if self.top_k == Some(0) {
            "top-k has to leave at least 1 character"
        } else if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            "top-p has to be more than 0, and at most 1 (all characters)"
        } else {
            return Ok(());
        };
        Err(SamplingError(problem))
    }

    /// What is drawn from: ids with their probabilities, the likeliest first and equals by id. `None`
    /// if a score is no number, or none is finite.
    ///
    /// # Shapes
    ///
    /// - logits: a score for each id
    /// - recent: the last characters, of which the newest `repetition_window` count
    pub fn distribution(&self, logits: &[f32], recent: &VecDeque<u16>) -> Option<Vec<(u16, f64)>> {
        let mut scores: Vec<(u16, f64)> = (0..).zip(logits.iter().map(|&x| f64::from(x))).collect();
        if scores
            .iter()
            .any(|(_, score)| score.is_nan() || *score == f64::INFINITY)
        {
            return None;
        }
        if self.repetition_penalty != 1.0 {
            for (id, score) in &mut scores {
                let mut lately = recent.iter().rev().take(self.repetition_window);
                if lately.any(|seen| seen == id) {
                    *score = match *score > 0.0 {
                        true => *score / self.repetition_penalty,
                        false => *score * self.repetition_penalty,
                    };
                }
            }
        }
        scores.sort_by(likeliest_first);
        let &(best, highest) = scores.first()?;
        if highest == f64::NEG_INFINITY {
            return None;
        }
        if self.temperature == 0.0 {
            return Some(vec![(best, 1.0)]);
        }
        scores.truncate(self.top_k.unwrap_or(usize::MAX).max(1));
        for (_, score) in &mut scores {
            // By a library, not by the platform, so that the same seed draws the same everywhere.
            *score = libm::exp((*score - highest) / self.temperature);
        }
        if self.top_p < 1.0 {
            let wanted = self.top_p * sum(&scores);
            let mut so_far = 0.0;
            let kept = scores.iter().take_while(|(_, weight)| {
                let goes_on = so_far < wanted;
                so_far += weight;
                goes_on
            });
            let kept = kept.count();
            scores.truncate(kept.max(1));
        }
        let total = sum(&scores);
        for (_, weight) in &mut scores {
            *weight /= total;
        }
        Some(scores)
    }
}

fn likeliest_first(a: &(u16, f64), b: &(u16, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn sum(weights: &[(u16, f64)]) -> f64 {
    weights.iter().map(|(_, weight)| weight).sum()
}

/// A [`Sampling`] that makes no sense, and what has to be otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SamplingError(&'static str);

/// Chooses the characters of one text.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    draws: PcgDraws,
    recent: VecDeque<u16>,
}

impl Sampler {
    /// For the text of this number. Its choices depend on the seed, the number and the scores alone,
    /// so that a text is the same whichever are written beside it.
    ///
    /// # Errors
    ///
    /// As [`Sampling::validate`].
    pub fn new(sampling: Sampling, seed: u64, text: u64) -> Result<Self, SamplingError> {
        sampling.validate()?;
        Ok(Self {
            sampling,
            draws: PcgDraws::new(seed, text),
            recent: VecDeque::new(),
        })
    }

    /// Takes note of a character of the prompt.
    pub fn read(&mut self, id: u16) {
        if self.sampling.repetition_penalty == 1.0 {
            return;
        }
        self.recent.push_back(id);
        if self.recent.len() > self.sampling.repetition_window {
            self.recent.pop_front();
        }
    }

    /// The next character, of which note is taken; `None` if the scores are no numbers.
    ///
    /// # Shapes
    ///
    /// - logits: a score for each id
    pub fn choose(&mut self, logits: &[f32]) -> Option<u16> {
        let choices = self.sampling.distribution(logits, &self.recent)?;
        let id = match choices[..] {
            // Nothing to draw.
            [(only, _)] => only,
            _ => {
                let mut left = self.draws.unit();
                let drawn = choices.iter().find(|(_, probability)| {
                    left -= probability;
                    left < 0.0
                });
                // Rounding may leave a little behind the last.
                drawn.or(choices.first())?.0
            }
        };
        self.read(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of probabilities 8, 1, 4 and 2 fifteenths.
    fn logits() -> [f32; 4] {
        [8.0_f32, 1.0, 4.0, 2.0].map(f32::ln)
    }

    fn distribution(sampling: &Sampling) -> Vec<(u16, f64)> {
        sampling.distribution(&logits(), &VecDeque::new()).unwrap()
    }

    /// `wanted` need not add up to 1.
    fn assert_is(found: &[(u16, f64)], wanted: &[(u16, f64)]) {
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (found, wanted_one) in found.iter().zip(wanted) {
            assert_eq!(found.0, wanted_one.0);
            let probability = wanted_one.1 / sum(wanted);
            assert!((found.1 - probability).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn temperatures_sharpen_and_flatten() {
        let at = |temperature| {
            distribution(&Sampling {
                temperature,
                ..Sampling::default()
            })
        };
        assert_is(&at(1.0), &[(0, 8.0), (2, 4.0), (3, 2.0), (1, 1.0)]);
        assert_is(&at(0.5), &[(0, 64.0), (2, 16.0), (3, 4.0), (1, 1.0)]);
        let root = 2_f64.sqrt();
        assert_is(&at(2.0), &[(0, 2.0 * root), (2, 2.0), (3, root), (1, 1.0)]);
        assert_is(&at(0.0), &[(0, 1.0)]);
        // So near to 0 that every other probability is 0.
        assert_is(&at(1e-300), &[(0, 1.0), (2, 0.0), (3, 0.0), (1, 0.0)]);
        assert_is(&at(1e300), &[(0, 1.0), (2, 1.0), (3, 1.0), (1, 1.0)]);
    }

    #[test]
    fn top_k_leaves_the_likeliest() {
        let of = |k| {
            distribution(&Sampling {
                top_k: Some(k),
                ..Sampling::default()
            })
        };
        assert_is(&of(1), &[(0, 1.0)]);
        assert_is(&of(2), &[(0, 8.0), (2, 4.0)]);
        let all = distribution(&Sampling::default());
        assert_eq!(of(4), all);
        assert_eq!(of(5), all);
        assert_eq!(of(usize::MAX), all);
    }

    #[test]
    fn top_p_leaves_the_fewest_that_are_enough() {
        let of = |top_p| {
            distribution(&Sampling {
                top_p,
                ..Sampling::default()
            })
        };
        assert_is(&of(1e-9), &[(0, 1.0)]);
        assert_is(&of(0.53), &[(0, 1.0)]);
        assert_is(&of(0.54), &[(0, 8.0), (2, 4.0)]);
        assert_is(&of(0.79), &[(0, 8.0), (2, 4.0)]);
        assert_is(&of(0.81), &[(0, 8.0), (2, 4.0), (3, 2.0)]);
        assert_eq!(of(1.0), distribution(&Sampling::default()));
    }

    #[test]
    fn top_p_is_of_what_top_k_left_at_this_temperature() {
        let both = |temperature, top_p| {
            distribution(&Sampling {
                temperature,
                top_k: Some(3),
                top_p,
                ..Sampling::default()
            })
        };
        // 8 of 14 is enough for 0.57, though 8 of 15 would not be.
        assert_is(&both(1.0, 0.57), &[(0, 1.0)]);
        // 64 of 84.
        assert_is(&both(0.5, 0.76), &[(0, 1.0)]);
        assert_is(&both(0.5, 0.77), &[(0, 64.0), (2, 16.0)]);
    }

    #[test]
    fn equals_stand_by_id() {
        let sampling = Sampling {
            top_k: Some(2),
            ..Sampling::default()
        };
        let equal = [1.0, 1.0, 1.0];
        let found = sampling.distribution(&equal, &VecDeque::new()).unwrap();
        assert_is(&found, &[(0, 1.0), (1, 1.0)]);
        let mut greedy = Sampler::new(Sampling::greedy(), 0, 0).unwrap();
        assert_eq!(greedy.choose(&[0.5, 2.0, 2.0]), Some(1));
    }

    #[test]
    fn what_came_lately_is_penalised_whatever_its_sign() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            repetition_window: 2,
            ..Sampling::default()
        };
        let scores = [2.0, -2.0, 1.0, -1.0];
        let of = |recent: &[u16]| {
            let recent = recent.iter().copied().collect();
            sampling.distribution(&scores, &recent).unwrap()
        };
        let e = f64::exp;
        let free = [(0, e(2.0)), (2, e(1.0)), (3, e(-1.0)), (1, e(-2.0))];
        assert_is(&of(&[]), &free);
        let both = [(0, e(1.0)), (2, e(1.0)), (3, e(-1.0)), (1, e(-4.0))];
        assert_is(&of(&[0, 1]), &both);
        assert_is(&of(&[0, 1, 0, 0, 1]), &both);
        // The oldest is out of the window.
        let one = [(0, e(2.0)), (2, e(1.0)), (3, e(-1.0)), (1, e(-4.0))];
        assert_is(&of(&[0, 1, 1]), &one);

        // A sampler keeps the window itself, and prompts count.
        let greedy = Sampling {
            temperature: 0.0,
            ..sampling
        };
        let mut sampler = Sampler::new(greedy, 0, 0).unwrap();
        sampler.read(0);
        let scores = [2.0, -2.0, 1.5, -1.0];
        let chosen: Vec<_> = (0..6).map(|_| sampler.choose(&scores)).collect();
        // 2 (1.5 against 1), then both are penalised, then one is out again.
        assert_eq!(chosen, [2, 0, 0, 2, 0, 0].map(Some));
    }

    /// Pearson's statistic of 20 000 draws, below the 99.9 % quantile for 3 degrees of freedom.
    #[test]
    fn frequencies_are_the_probabilities() {
        const DRAWS: usize = 20_000;
        for temperature in [1.0, 0.5, 2.0] {
            let sampling = Sampling {
                temperature,
                ..Sampling::default()
            };
            let wanted = distribution(&sampling);
            let mut sampler = Sampler::new(sampling, 17, 3).unwrap();
            let mut counts = [0_usize; 4];
            for _ in 0..DRAWS {
                counts[usize::from(sampler.choose(&logits()).unwrap())] += 1;
            }
            let statistic: f64 = wanted
                .iter()
                .map(|&(id, probability)| {
                    let expected = probability * DRAWS as f64;
                    (counts[usize::from(id)] as f64 - expected).powi(2) / expected
                })
                .sum();
            assert!(statistic < 16.27, "{statistic}: {counts:?}");
        }
    }

    #[test]
    fn a_seed_repeats_and_texts_differ() {
        let draw = |seed, text| -> Vec<u16> {
            let mut sampler = Sampler::new(Sampling::default(), seed, text).unwrap();
            (0..40)
                .map(|_| sampler.choose(&logits()).unwrap())
                .collect()
        };
        assert_eq!(draw(5, 0), draw(5, 0));
        assert_ne!(draw(5, 0), draw(6, 0));
        assert_ne!(draw(5, 0), draw(5, 1));
    }

    #[test]
    fn scores_that_are_no_numbers_give_nothing() {
        let mut sampler = Sampler::new(Sampling::default(), 0, 0).unwrap();
        assert_eq!(sampler.choose(&[0.0, f32::NAN]), None);
        assert_eq!(sampler.choose(&[0.0, f32::INFINITY]), None);
        assert_eq!(sampler.choose(&[f32::NEG_INFINITY; 2]), None);
        assert_eq!(sampler.choose(&[]), None);
        assert_eq!(sampler.choose(&[f32::NEG_INFINITY, 0.0]), Some(1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = Sampling::default();
        good.validate().unwrap();
        Sampling::greedy().validate().unwrap();
        let temperature = |temperature| Sampling {
            temperature,
            ..good.clone()
        };
        let top_p = |top_p| Sampling {
            top_p,
            ..good.clone()
        };
        let penalty = |repetition_penalty| Sampling {
            repetition_penalty,
            ..good.clone()
        };
        let no_k = Sampling {
            top_k: Some(0),
            ..good.clone()
        };
        for (bad, word) in [
            (temperature(-1.0), "temperature"),
            (temperature(f64::NAN), "temperature"),
            (temperature(f64::INFINITY), "temperature"),
            (top_p(0.0), "top-p"),
            (top_p(1.1), "top-p"),
            (top_p(f64::NAN), "top-p"),
            (penalty(0.9), "penalty"),
            (penalty(f64::NAN), "penalty"),
            (no_k, "top-k"),
        ] {
            let error = Sampler::new(bad, 0, 0).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
