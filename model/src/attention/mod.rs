//! Attention modules, one a file.

mod long_short;
mod rotary;

pub(crate) use long_short::mix;
pub use long_short::{
    LongShortAttention, LongShortAttentionConfig, LongShortInput, LongShortOutput,
};
