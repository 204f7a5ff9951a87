//! Attention modules, one a file.

mod long_short;
mod rotary;

pub use long_short::{
    LongShortAttention, LongShortAttentionConfig, LongShortInput, LongShortOutput,
};
