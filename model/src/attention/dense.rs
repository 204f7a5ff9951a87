//! Dense softmax attention (Vaswani et al. 2017, arXiv 1706.03762): every token sees every token of
//! its document, at a cost that grows with the square of the length.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::Device;

use super::heads::{AttentionInput, Contexts};
use super::rows::{Prepared, check_fields, dense};
use crate::error::ConfigError;

/// Configuration of a [`DenseAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct DenseAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl DenseAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_fields(
            self.d_model,
            self.heads,
            self.attention_dropout,
            self.rotary,
        )
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let d_model = self.d_model as f64;
        6.0 * n * d_model * d_model + 4.0 * n * n * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        3 * (self.d_model as u128).pow(2)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> DenseAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        DenseAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            rotary: self.rotary,
        }
    }
}

/// Dense attention over a sequence, optionally with a class row, which is one more token: all see
/// it, and it sees all.
///
/// ```text
/// Q = split(X W_q) / √d,   K = split(X W_k),   V = split(X W_v),   C = merge(softmax(Q Kᵀ) V)
/// ```
///
/// Tensor operations alone compute it, on every device. Built by [`DenseAttentionConfig`].
#[derive(Module, Debug)]
pub struct DenseAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// Probability of attention dropout.
    pub dropout: Dropout,
    heads: usize,
    rotary: bool,
}

impl DenseAttention {
    /// What the heads read of the sequence.
    ///
    /// # Shapes
    ///
    /// - tokens: `[b, n, D]`, any `n ≥ 1`; class row: `[documents, 1, D]`
    /// - output: as the rows given
    ///
    /// A padded row gives zeros, as do all rows of a document without a real token.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other.
    pub fn contexts(&self, input: AttentionInput) -> Contexts {
        let layers = [&self.query, &self.key, &self.value];
        Prepared::of(input, layers, self.heads, self.rotary)
            .by_document(|part| dense(part, &self.dropout))
    }
}
