//! What there is to choose in causal attention, and how its parameters begin.

use burn::config::Config;
use burn::module::Initializer;
use burn::nn::{DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Device;

use super::{CausalAttention, CausalLandmarks};
use crate::attention::heads::check_heads;
use crate::error::{ConfigError, check_dropout, refuse_too_large, refuse_zero};

/// Configuration of [`CausalAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct CausalAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Window `w` in tokens: a query sees itself and the `w − 1` tokens before it. 0: all tokens before
    /// it, the whole memory's too.
    #[config(default = 512)]
    pub window: usize,
    /// Chunk `c` in tokens; each finished one is projected to its landmarks.
    #[config(default = 16)]
    pub chunk: usize,
    /// Landmarks of a chunk, per head. 0: none, and no LayerNorms, as in Transformer-XL.
    #[config(default = 1)]
    pub rank: usize,
    /// Whether queries, keys, values and `W_o` have a bias.
    #[config(default = false)]
    pub bias: bool,
    /// The largest distance of a key that positions tell apart; 0 for no bound.
    #[config(default = 0)]
    pub clamp: usize,
    /// The largest number of landmarks after one that positions tell apart; 0 for no bound.
    #[config(default = 0)]
    pub landmark_clamp: usize,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
}

impl CausalAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_too_large([
            ("d_model", self.d_model),
            ("window", self.window),
            ("chunk", self.chunk),
            ("rank", self.rank),
        ])?;
        check_heads(self.d_model, self.heads)?;
        if !self.d_model.is_multiple_of(2) {
            let problem = format!(
                "must be even for sines and cosines, {} is not",
                self.d_model
            );
            return Err(ConfigError::new("d_model", problem));
        }
        refuse_zero([("chunk", self.chunk)])?;
        if self.rank > 0 {
            refuse_zero([("window", self.window)])?;
        }
        check_dropout("attention_dropout", self.attention_dropout)
    }

    /// Builds the module with the release's initial distributions: N(0, 0.02) for weights, `u` and `v`,
    /// N(1, 0.02) for LayerNorms, zeros for biases (`_init_weights` in its
    /// `autoregressive/model_lib/model.py`).
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> CausalAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let [d_model, heads] = [self.d_model, self.heads];
        let linear = |out, bias| normal_linear(d_model, out, bias, device);
        let norm = || normal_norm(d_model, device);
        let d = d_model / heads;
        CausalAttention {
            query: linear(d_model, self.bias),
            key: linear(d_model, self.bias),
            value: linear(d_model, self.bias),
            output: linear(d_model, self.bias),
            relative: linear(d_model, false),
            landmarks: (self.rank > 0).then(|| CausalLandmarks {
                projection: linear(heads * self.rank, true),
                window_norm: norm(),
                norm: norm(),
                relative: linear(d_model, true),
            }),
            content_bias: normal(0.0).init([1, heads, 1, 1, d], device),
            position_bias: normal(0.0).init([1, heads, 1, d], device),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads,
            window: self.window,
            chunk: self.chunk,
            rank: self.rank,
            clamp: self.clamp,
            landmark_clamp: self.landmark_clamp,
        }
    }
}

/// What the release's language models begin with.
pub(crate) fn normal(mean: f64) -> Initializer {
    Initializer::Normal { mean, std: 0.02 }
}

/// A linear layer with weights N(0, 0.02) and a bias of zeros.
pub(crate) fn normal_linear(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs)
        .with_bias(bias)
        .with_initializer(normal(0.0))
        .init(device);
    linear.bias = bias.then(|| Initializer::Zeros.init([outputs], device));
    linear
}

/// A LayerNorm with gammas N(1, 0.02) and betas of zeros.
pub(crate) fn normal_norm(width: usize, device: &Device) -> LayerNorm {
    let mut norm = LayerNormConfig::new(width).init(device);
    norm.gamma = normal(1.0).init([width], device);
    norm
}
