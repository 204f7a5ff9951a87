//! Attention inside a window alone: the "local attention" that Long Range Arena compares with (Tay et
//! al. 2021, arXiv 2011.04006, section 3.3).

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::Device;

use super::heads::{AttentionInput, Contexts, merge};
use super::rows::{Prepared, check_fields, read_by_class_row, scale_of};
use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::ops::{self, Attend, Window};
use crate::seed::hash_dropout;

/// Configuration of a [`LocalAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct LocalAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Window (segment length) `w` in tokens.
    #[config(default = 8)]
    pub window: usize,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl LocalAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_zero([("window", self.window)])?;
        refuse_too_large([("window", self.window)])?;
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
        let seen = Window::segments(self.window).span() as f64;
        6.0 * n * d_model * d_model + 4.0 * n * seen.min(n) * d_model
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
    pub fn init(&self, device: &Device) -> LocalAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        LocalAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            window: self.window,
            rotary: self.rotary,
        }
    }
}

/// A token sees its segment and half of both neighbours, as long-short attention's window does.
///
/// ```text
/// Q = split(X W_q) / √d,   K = split(X W_k),   V = split(X W_v)
/// C = merge(softmax(Q K_windowᵀ) V_window)
/// ```
///
/// A class row is seen by every token, and reads the whole document. Built by
/// [`LocalAttentionConfig`].
#[derive(Module, Debug)]
pub struct LocalAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// Probability of attention dropout.
    pub dropout: Dropout,
    heads: usize,
    window: usize,
    rotary: bool,
}

impl LocalAttention {
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
        let Prepared {
            tokens,
            class_row,
            layout,
            residual,
            dropout_seed,
        } = Prepared::of(input, layers, self.heads, self.rotary);
        let scale = scale_of(&tokens.query);
        let row = class_row.clone();
        let attended = ops::attend(Attend {
            query: tokens.query,
            key: tokens.key.clone(),
            value: tokens.value.clone(),
            landmarks: row.map(|row| (row.key, row.value)),
            landmark_bias: None,
            bias: None,
            relative_keys: None,
            layout: layout.layout().clone(),
            visibility: Window::segments(self.window).into(),
            scale,
            dropout: hash_dropout(&self.dropout, &residual.device(), dropout_seed),
        });
        let class_row = class_row.map(|mut row| {
            row.query = row.query * scale;
            read_by_class_row(row, tokens.key, tokens.value, &layout)
        });
        Contexts {
            tokens: merge(attended.output),
            class_row: class_row.map(merge),
            residual,
        }
    }
}
