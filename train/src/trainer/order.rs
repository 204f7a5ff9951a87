//! Every random choice of a run as a pure function of its seed.
//!
//! A generator's state need not be saved where there is none: weights, the order of
//! the samples and the dropout of a step are each derived from (seed, purpose, number).
//! A resumed run therefore sees exactly what an uninterrupted one would have seen.

use transformer_ls_datasets::draws::mix;

/// What a derived number is for; each purpose has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The initial weights (number 0; those of a decoder, number 1).
    Weights,
    /// The order of the samples in an epoch.
    Order,
    /// The device's generator at a step.
    Step,
    /// The dropout masks of a step.
    Dropout,
    /// The tokens that a step of pretraining hides.
    Mask,
    /// The tokens of dev that pretraining hides (number 0).
    DevMask,
    /// The dropout masks of a step's part, from those of the step.
    Part,
    /// The text that a language model writes after a step.
    Sample,
}

impl Purpose {
    /// An odd constant each, so that equal numbers never meet.
    fn salt(self) -> u64 {
        match self {
            Purpose::Weights => 0x57E1_6475_0000_0001,
            Purpose::Order => 0x04DE_4000_0000_0003,
            Purpose::Step => 0x57E9_0000_0000_0005,
            Purpose::Dropout => 0xD409_0A75_0000_0007,
            Purpose::Mask => 0x3A5C_0000_0000_000D,
            Purpose::DevMask => 0xDE3A_5C00_0000_000B,
            Purpose::Part => 0x9A47_0000_0000_0009,
            Purpose::Sample => 0x5A3B_1E00_0000_000F,
        }
    }
}

/// The seed for `purpose` number `number` of a run seeded with `seed`.
pub fn derive(seed: u64, purpose: Purpose, number: u64) -> u64 {
    mix(mix(seed ^ purpose.salt()).wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// The order in which epoch `epoch` visits `len` samples.
///
/// A Fisher–Yates shuffle whose draws are exactly uniform (rejection, no modulo bias).
pub fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut state = derive(seed, Purpose::Order, epoch);
    let mut draw = |bound: u64| {
        // The largest multiple of `bound` that fits: draws above it are thrown away.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let value = mix(state);
            if value < limit {
                return (value % bound) as usize;
            }
        }
    };
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, draw(last as u64 + 1));
    }
    order
}

/// Which samples step `step` (counted from 0) trains on.
///
/// An epoch is every full batch of a shuffled data set; the samples left over (fewer
/// than a batch) wait for the next epoch's shuffle, as in the released training code.
/// A data set smaller than a batch makes one batch an epoch.
#[derive(Clone, Debug)]
pub struct Schedule {
    seed: u64,
    len: usize,
    batch_size: usize,
    epoch: Option<(u64, Vec<usize>)>,
}

impl Schedule {
    /// The schedule of `len` samples in batches of `batch_size`.
    pub fn new(seed: u64, len: usize, batch_size: usize) -> Self {
        Self {
            seed,
            len,
            batch_size: batch_size.clamp(1, len.max(1)),
            epoch: None,
        }
    }

    /// Batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        (self.len / self.batch_size).max(1)
    }

    /// The samples of step `step`.
    pub fn indices(&mut self, step: usize) -> &[usize] {
        let epoch = (step / self.batches_per_epoch()) as u64;
        let within = step % self.batches_per_epoch();
        let order = match self.epoch.take() {
            Some((current, order)) if current == epoch => order,
            _ => permutation(self.seed, epoch, self.len),
        };
        let (_, order) = self.epoch.insert((epoch, order));
        let start = within * self.batch_size;
        &order[start..(start + self.batch_size).min(order.len())]
    }
}

/// Part `part` of `samples` that are cut into `parts`, as even as whole samples allow.
pub fn part_of<T>(samples: &[T], part: usize, parts: usize) -> &[T] {
    let bound = |part: usize| part * samples.len() / parts;
    &samples[bound(part)..bound(part + 1)]
}

/// The dropout seed of a step's part.
pub fn dropout_seed(seed: u64, step: usize, part: usize) -> u64 {
    let of_step = derive(seed, Purpose::Dropout, step as u64);
    match part {
        // A step that is not cut has its own.
        0 => of_step,
        _ => derive(of_step, Purpose::Part, part as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_agrees_with_its_published_first_outputs() {
        // The reference generator seeded with 1234567 (Vigna's splitmix64.c).
        let golden = 0x9E37_79B9_7F4A_7C15u64;
        let mut state = 1_234_567u64;
        let mut next = || {
            state = state.wrapping_add(golden);
            mix(state)
        };
        assert_eq!(next(), 6_457_827_717_110_365_317);
        assert_eq!(next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn an_epoch_visits_each_sample_once_in_an_order_of_its_own() {
        let first = permutation(1234, 0, 1000);
        let second = permutation(1234, 1, 1000);
        assert_ne!(first, second);
        assert_eq!(first, permutation(1234, 0, 1000));
        assert_ne!(first, permutation(1235, 0, 1000));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn any_step_can_be_asked_for_without_the_ones_before() {
        let mut forward = Schedule::new(7, 103, 10);
        let walked: Vec<Vec<usize>> = (0..35).map(|s| forward.indices(s).to_vec()).collect();
        for (step, expected) in walked.iter().enumerate().rev() {
            assert_eq!(Schedule::new(7, 103, 10).indices(step), expected);
            assert_eq!(expected.len(), 10);
        }
        let epoch: std::collections::HashSet<_> = walked[..10].iter().flatten().collect();
        assert_eq!(epoch.len(), 100);
    }

    #[test]
    fn parts_are_even_and_make_the_whole() {
        for (samples, parts) in [(32, 4), (10, 4), (3, 3), (7, 1)] {
            let whole: Vec<usize> = (0..samples).collect();
            let cut: Vec<&[usize]> = (0..parts).map(|p| part_of(&whole, p, parts)).collect();
            assert_eq!(cut.concat(), whole);
            assert!(
                cut.iter().all(|part| {
                    (samples / parts..=samples.div_ceil(parts)).contains(&part.len())
                })
            );
        }
    }

    #[test]
    fn fewer_samples_than_a_batch_make_one_batch() {
        let mut schedule = Schedule::new(7, 3, 32);
        assert_eq!(schedule.batches_per_epoch(), 1);
        assert_eq!(schedule.indices(5).len(), 3);
    }
}
