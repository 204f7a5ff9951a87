//! Which tokens a pretraining run hides: a function of seed, step and place.

use super::order::{Purpose, derive};

/// How a run hides tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masking {
    seed: u64,
    probability: f64,
}

impl Masking {
    /// Hides every token with this probability.
    pub fn new(seed: u64, probability: f64) -> Self {
        Self { seed, probability }
    }

    /// What a training step hides.
    pub fn step(&self, step: usize) -> Mask {
        self.mask(Purpose::Mask, step, 0)
    }

    /// What is hidden of samples of dev, of which the batch's first is number `first`: the same at
    /// every evaluation, however the batches are cut.
    pub fn dev(&self, first: usize) -> Mask {
        self.mask(Purpose::DevMask, 0, first)
    }

    fn mask(&self, purpose: Purpose, number: usize, first: usize) -> Mask {
        Mask {
            stream: derive(self.seed, purpose, number as u64),
            probability: self.probability,
            // A sample has two documents at most.
            first: 2 * first,
        }
    }
}

/// What is hidden of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    stream: u64,
    probability: f64,
    first: usize,
}

impl Mask {
    /// The same for a batch that begins so many samples later.
    pub fn after(self, samples: usize) -> Self {
        Self {
            first: self.first + 2 * samples,
            ..self
        }
    }

    /// Whether the token at `place` of a document of the batch is hidden.
    pub fn hides(&self, document: usize, place: usize) -> bool {
        let document = (self.first + document) as u64;
        let stream = derive(self.stream, Purpose::Mask, document);
        // 53 bits fill a double.
        let uniform = (derive(stream, Purpose::Mask, place as u64) >> 11) as f64;
        uniform < self.probability * (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: usize = 40;
    const LENGTH: usize = 2500;

    fn drawn(mask: Mask) -> Vec<bool> {
        let places = |document| (0..LENGTH).map(move |place| mask.hides(document, place));
        (0..DOCUMENTS).flat_map(places).collect()
    }

    fn share(bits: impl Iterator<Item = bool>) -> f64 {
        let (mut hidden, mut all) = (0.0, 0.0);
        for bit in bits {
            hidden += f64::from(u8::from(bit));
            all += 1.0;
        }
        hidden / all
    }

    /// 100 000 draws: the share is within five standard deviations of the probability, and so are the
    /// shares of pairs of neighbours, of documents and of steps, which independence gives.
    #[test]
    fn fractions_are_the_probability_and_draws_are_independent() {
        for probability in [0.1, 0.15, 0.5] {
            let masking = Masking::new(7, probability);
            let step = drawn(masking.step(3));
            let count = step.len() as f64;
            let near = |found: f64, p: f64| {
                let deviation = (p * (1.0 - p) / count).sqrt();
                assert!((found - p).abs() < 5.0 * deviation, "{found} for {p}");
            };
            near(share(step.iter().copied()), probability);
            let both = |other: &[bool]| share(step.iter().zip(other).map(|(a, b)| *a && *b));
            let square = probability * probability;
            near(both(&step[1..]), square);
            near(both(&step[LENGTH..]), square);
            near(both(&drawn(masking.step(4))), square);
            near(both(&drawn(masking.dev(0))), square);
            near(both(&drawn(Masking::new(8, probability).step(3))), square);
            assert_eq!(step, drawn(masking.step(3)));
        }
    }

    #[test]
    fn the_same_is_hidden_however_batches_are_cut() {
        let masking = Masking::new(7, 0.5);
        for place in 0..100 {
            // Document 6 and 7 are sample 3's.
            let whole = [6, 7].map(|document| masking.dev(0).hides(document, place));
            let alone = [0, 1].map(|document| masking.dev(3).hides(document, place));
            assert_eq!(whole, alone);
            let step = [6, 7].map(|document| masking.step(5).hides(document, place));
            let part = [0, 1].map(|document| masking.step(5).after(3).hides(document, place));
            assert_eq!(step, part);
        }
    }
}
