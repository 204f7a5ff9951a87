//! The interface through which generators draw random numbers.
//!
//! A generator draws from [`Draws`] and from nothing else. So it can be run on seeds
//! ([`PcgDraws`]), or on recorded draws, to be compared with another implementation bit for bit.

use rand_core::Rng;
use rand_pcg::Pcg64;

/// A source of uniform integers and reals.
pub trait Draws {
    /// Draws an integer uniformly from `0..bound`.
    ///
    /// # Panics
    /// May panic if `bound` is 0.
    fn below(&mut self, bound: u32) -> u32;

    /// Draws a real number uniformly from `[0, 1)`.
    fn unit(&mut self) -> f64;
}

/// Pseudo-random draws that are a pure function of a seed and a stream.
///
/// One stream a generated object (a tree, an image) makes the object a function of the seed and
/// its own number: neither threads nor the objects before it can change it.
///
/// The bits come from PCG XSL RR 128/64 (O'Neill 2014), whose output is specified. How seed and
/// stream become its state, and how its bits become numbers, is fixed here and does not rest on
/// the `rand` crate, whose mappings may change between versions. With `mix` the finaliser of
/// SplitMix64 and `G = 0x9E3779B97F4A7C15` (all arithmetic wraps):
///
/// * `s = mix(seed + G)`, `t = mix(s ^ mix(stream + G))`;
/// * PCG's initial state is `s·2^64 + t`, its stream `mix(t + G)·2^64 + mix(t + 2G)`;
/// * [`below`](Draws::below): the high 64 bits of `x · bound` for the next 64 bits `x`, which are
///   drawn again while the low 64 bits are less than `2^64 mod bound` (Lemire 2019: no bias);
/// * [`unit`](Draws::unit): the upper 53 bits of the next 64, times `2^-53`.
#[derive(Clone, Debug)]
pub struct PcgDraws {
    bits: Pcg64,
}

impl PcgDraws {
    /// The draws of `stream` under `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        const G: u64 = 0x9E37_79B9_7F4A_7C15;
        let s = mix(seed.wrapping_add(G));
        let t = mix(s ^ mix(stream.wrapping_add(G)));
        let pcg_stream = wide(
            mix(t.wrapping_add(G)),
            mix(t.wrapping_add(G.wrapping_mul(2))),
        );
        Self {
            bits: Pcg64::new(wide(s, t), pcg_stream),
        }
    }
}

impl Draws for PcgDraws {
    #[inline]
    fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "an integer below 0 cannot be drawn");
        let bound = u64::from(bound);
        loop {
            let product = u128::from(self.bits.next_u64()) * u128::from(bound);
            let (high, low) = ((product >> 64) as u64, product as u64);
            // The remainder is dear and less than `bound`: it is asked for only where it may matter.
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return high as u32;
            }
        }
    }

    #[inline]
    fn unit(&mut self) -> f64 {
        (self.bits.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

impl<D: Draws + ?Sized> Draws for &mut D {
    fn below(&mut self, bound: u32) -> u32 {
        (**self).below(bound)
    }

    fn unit(&mut self) -> f64 {
        (**self).unit()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators",
/// 2014): a bijection in which every input bit reaches every output bit.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn wide(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
