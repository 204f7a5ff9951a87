//! Flex, Burn's CPU backend.

use super::LongShortBackend;

impl LongShortBackend for burn::backend::Flex {}
