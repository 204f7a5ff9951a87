//! The Long-Short Transformer (Zhu et al. 2021, arXiv 2107.02192) for Burn.
//!
//! It attends over long sequences at linear cost: a short sliding window is joined with a dynamic
//! low-rank projection of the whole sequence, the two aligned by two LayerNorms and weighed by one
//! softmax.
//!
//! * [`attention::AttentionLayer`] is a Burn module over `[batch, tokens, width]` floats, to embed in
//!   your own model.
//! * [`Classifier`] is the Long Range Arena model, [`presets`] its published sizes, [`weights`] the
//!   way to and from NVIDIA's checkpoints and safetensors.
//! * [`ops`] is the seam to the devices: a backend extension with plain bodies for every backend.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use transformer_ls_burn::attention::{
//!     AttentionInput, AttentionLayerConfig, LongShortAttentionConfig,
//! };
//!
//! let device = Device::flex();
//! let heads = LongShortAttentionConfig::new(64, 2).with_window(8).with_rank(32);
//! let attention = AttentionLayerConfig::new(heads.into()).init(&device);
//! let x = Tensor::random([4, 1000, 64], Distribution::Default, &device);
//! let y = attention.forward(AttentionInput::new(x)).tokens;
//! assert_eq!(y.dims(), [4, 1000, 64]);
//! ```
//!
//! A model holds no backend type: the [`Device`](burn::tensor::Device) that it is built on decides
//! what runs it.
#![warn(missing_docs)]

pub mod attention;
mod block;
mod classifier;
mod embedding;
mod encoder;
mod error;
mod fields;
mod language_model;
pub mod ops;
pub mod presets;
mod reconstruction;
mod seed;
mod tokens;
pub mod weights;

pub use block::{Block, BlockConfig, HiddenStates};
pub use classifier::{Classifier, ClassifierConfig, Head};
pub use embedding::{Axes, EmbeddingConfig, Input, Positions, TokenEmbedding};
pub use encoder::{Encoder, EncoderConfig, Pooling};
pub use error::ConfigError;
pub use fields::FieldError;
pub use language_model::{
    Decoding, LanguageModel, LanguageModelConfig, LanguageModelLayer, LanguageModelLayerConfig,
    Losses, Memory, Predictions, Segment,
};
pub use ops::{Boundaries, Layout};
pub use reconstruction::{Decoder, MaskedTokens, Reconstruction};
pub use tokens::Tokens;
