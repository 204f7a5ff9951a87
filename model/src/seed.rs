//! Seeds from seeds.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::nn::Dropout;
use burn::tensor::Device;

use crate::ops::AttentionDropout;

/// Spreads a seed over all 64 bits (the finaliser of SplitMix64, Steele et al. 2014).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Seeds for callers that bring none.
static SEEDS: AtomicU64 = AtomicU64::new(0);

/// Whether a module drops anything.
pub(crate) fn drops(dropout: &Dropout, device: &Device) -> bool {
    dropout.training.is_enabled() && device.is_autodiff() && dropout.prob > 0.0
}

/// The dropout of a module as an operation takes it: a hash of entries' places, off where the
/// module does not train.
pub(crate) fn hash_dropout(
    dropout: &Dropout,
    device: &Device,
    seed: Option<u64>,
) -> AttentionDropout {
    if !drops(dropout, device) {
        return AttentionDropout::OFF;
    }
    let seed = seed.unwrap_or_else(|| SEEDS.fetch_add(1, Ordering::Relaxed));
    AttentionDropout {
        probability: dropout.prob,
        seed: mix(seed) as u32,
    }
}
