//! Which attention probabilities dropout keeps: a hash of the entry's place.
//!
//! A kernel that recomputes probabilities in its backward pass must drop the same entries again.
//! So nothing is drawn: an entry stays or goes by a 32-bit hash of the seed and of where it is.
//!
//! ```text
//! mix(x)  = x ^= x >> 16;  x *= 0x85EBCA6B;  x ^= x >> 13;  x *= 0xC2B2AE35;  x ^= x >> 16
//! step(x, v) = mix(x ^ (v + 1) * 0x9E3779B9)
//! hash    = step(step(step(step(mix(seed), document), head), query), column)
//! ```
//!
//! All of it in wrapping 32-bit arithmetic (multiply, xor, shift), so that a shader can compute the
//! same. `mix` is the finaliser of MurmurHash3 and `0x9E3779B9` is 2³² divided by the golden ratio.
//!
//! The *document* counts over the batch, the *query* within its document, and the *column* over
//! what the query sees: landmark `t` is column `t`, and the window key `j` is column `r` +
//! [`Window::column`](crate::Window::column). So a document loses the same entries whether it lies
//! in a padded row or between others in a packed one.

/// Dropout of attention probabilities.
///
/// Whether an entry stays is a [`hash`] of the seed and of its place (document, head, query,
/// column), the same in every body, so that a kernel needs no stored mask and can be compared with
/// others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Share of entries that are dropped, in `[0, 1)`; 0 drops none.
    pub probability: f64,
    /// Seed of this operation's entries.
    pub seed: u32,
}

impl Dropout {
    /// No dropout.
    pub const OFF: Self = Self {
        probability: 0.0,
        seed: 0,
    };

    /// Whether anything is dropped.
    pub fn is_off(&self) -> bool {
        self.probability == 0.0
    }

    /// What a kept entry is multiplied by, which keeps the expectation: `1 / (1 − probability)`.
    pub fn scale(&self) -> f64 {
        1.0 / (1.0 - self.probability)
    }
}

/// The hash of one entry; the entry is kept if it is not below the [`threshold`].
///
/// ```
/// use transformer_ls_kernels::dropout::{hash, threshold};
///
/// let kept = hash(7, 0, 1, 200, 31) >= threshold(0.1);
/// assert!(kept);
/// ```
pub const fn hash(seed: u32, document: u32, head: u32, query: u32, column: u32) -> u32 {
    step(step(of_head(seed, document, head), query), column)
}

/// `⌊probability · 2³²⌋`: as many of the 2³² hashes lie below it as entries are to be dropped.
///
/// # Panics
///
/// Panics if the probability is not in `[0, 1)`.
pub const fn threshold(probability: f64) -> u32 {
    assert!(
        probability >= 0.0 && probability < 1.0,
        "a dropout probability lies in [0, 1)"
    );
    (probability * 4_294_967_296.0) as u32
}

/// The part of [`hash`] that all entries of one document and head share.
pub const fn of_head(seed: u32, document: u32, head: u32) -> u32 {
    step(step(mix(seed), document), head)
}

/// Takes one more coordinate into a hash.
#[inline(always)]
pub const fn step(hash: u32, coordinate: u32) -> u32 {
    // The 1 keeps coordinate 0 from being no step at all.
    mix(hash ^ coordinate.wrapping_add(1).wrapping_mul(0x9E37_79B9))
}

#[inline(always)]
const fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85EB_CA6B);
    x ^= x >> 13;
    x = x.wrapping_mul(0xC2B2_AE35);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For implementations in other languages.
    #[test]
    fn test_vectors() {
        let vectors = [
            ([0, 0, 0, 0, 0], 0x62FE_6B1A),
            ([1, 0, 0, 0, 0], 0xCF60_99BC),
            ([0, 1, 0, 0, 0], 0xEA54_819B),
            ([0, 0, 1, 0, 0], 0xF71C_47D0),
            ([0, 0, 0, 1, 0], 0x6E0F_9FA1),
            ([0, 0, 0, 0, 1], 0x54B2_9B99),
            ([42, 31, 1, 2047, 48], 0x0084_D5F7),
            ([u32::MAX, u32::MAX, 7, 65535, 1000], 0x92DC_C7E6),
        ];
        for ([seed, document, head, query, column], expected) in vectors {
            assert_eq!(hash(seed, document, head, query, column), expected);
        }
    }

    #[test]
    fn thresholds() {
        assert_eq!(threshold(0.0), 0);
        assert_eq!(threshold(0.5), 1 << 31);
        assert_eq!(threshold(0.1), 429_496_729);
        assert_eq!(threshold(1.0 - f64::EPSILON), u32::MAX);
    }

    /// Pearson's χ² of the hash's top and bottom bytes, each coordinate running on its own while
    /// the others stand still; 255 degrees of freedom, so that 360 is passed by chance once in
    /// 5·10⁴ runs.
    #[test]
    fn bytes_are_uniform_along_every_coordinate() {
        let chi_square = |hash_of: &dyn Fn(u32) -> u32, shift: u32| {
            const DRAWS: u32 = 1 << 16;
            let mut counts = [0_u32; 256];
            for i in 0..DRAWS {
                counts[(hash_of(i) >> shift & 255) as usize] += 1;
            }
            let expected = f64::from(DRAWS) / 256.0;
            counts
                .iter()
                .map(|&count| (f64::from(count) - expected).powi(2) / expected)
                .sum::<f64>()
        };
        for shift in [0, 8, 16, 24] {
            for fixed in [0, 1, 77] {
                let along: [&dyn Fn(u32) -> u32; 5] = [
                    &|i| hash(i, fixed, fixed, fixed, fixed),
                    &|i| hash(fixed, i, fixed, fixed, fixed),
                    &|i| hash(fixed, fixed, i, fixed, fixed),
                    &|i| hash(fixed, fixed, fixed, i, fixed),
                    &|i| hash(fixed, fixed, fixed, fixed, i),
                ];
                for (coordinate, hash_of) in along.iter().enumerate() {
                    let value = chi_square(hash_of, shift);
                    assert!(value < 360.0, "coordinate {coordinate}: χ² {value}");
                }
            }
        }
    }

    /// Whether an entry stays says nothing about its neighbour in any coordinate, nor about the
    /// same entry under the next seed.
    #[test]
    fn neighbours_are_independent() {
        let threshold = threshold(0.3);
        let kept = |at: [u32; 5]| f64::from(hash(at[0], at[1], at[2], at[3], at[4]) >= threshold);
        for coordinate in 0..5 {
            let (mut mean, mut product, mut count) = (0.0, 0.0, 0.0);
            for seed in 0..3 {
                for document in 0..4 {
                    for query in 0..200 {
                        for column in 0..49 {
                            let at = [seed, document, 1, query, column];
                            let mut next = at;
                            next[coordinate] += 1;
                            mean += kept(at);
                            product += kept(at) * kept(next);
                            count += 1.0;
                        }
                    }
                }
            }
            let (mean, product) = (mean / count, product / count);
            assert!((mean - 0.7).abs() < 0.005, "mean {mean}");
            let covariance = product - mean * mean;
            assert!(
                covariance.abs() < 0.003,
                "coordinate {coordinate}: {covariance}"
            );
        }
    }
}
