//! NdArray, the CPU backend that Burn 0.23 drops.

use super::LongShortBackend;

impl LongShortBackend for burn_ndarray::NdArray {}
