//! LibTorch: the plain bodies.

use super::LongShortBackend;

impl LongShortBackend for burn::backend::LibTorch {}
