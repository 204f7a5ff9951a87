//! A learned low-rank projection of keys and values: Linformer (Wang et al. 2020, arXiv 2006.04768).

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::heads::{AttentionInput, Contexts};
use super::rows::{Part, Prepared, Rows, check_fields, scale_of};
use crate::error::{ConfigError, refuse_too_large};
use crate::ops::{self, Attend, Window};
use crate::seed::hash_dropout;

/// Configuration of a [`LinformerAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct LinformerAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Rank `r` of the projections: landmarks per head, at least 2.
    #[config(default = 32)]
    pub rank: usize,
    /// The longest document, in tokens: how many positions the projections know.
    #[config(default = 4096)]
    pub projected_length: usize,
    /// Whether every head has projections of its own, or all share one pair.
    #[config(default = false)]
    pub projection_per_head: bool,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl LinformerAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_too_large([
            ("rank", self.rank),
            ("projected_length", self.projected_length),
        ])?;
        if self.rank < 2 {
            return Err(ConfigError::new("rank", "must be at least 2"));
        }
        if self.projected_length == 0 {
            return Err(ConfigError::new("projected_length", "must be at least 1"));
        }
        check_fields(
            self.d_model,
            self.heads,
            self.attention_dropout,
            self.rotary,
        )
    }

    fn projections(&self) -> usize {
        if self.projection_per_head {
            self.heads
        } else {
            1
        }
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, r] = [self.d_model, self.rank].map(|x| x as f64);
        // Both projections, then scores and sums over them.
        6.0 * n * d_model * d_model + 8.0 * n * r * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        let [d, r, n] = [self.d_model, self.rank, self.projected_length].map(|x| x as u128);
        3 * d * d + 2 * self.projections() as u128 * r * n
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers, the projections' over
    /// positions too.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> LinformerAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        let bound = (self.projected_length as f64).powf(-0.5);
        let projection = || {
            let shape = [self.projections(), self.rank, self.projected_length];
            Initializer::Uniform {
                min: -bound,
                max: bound,
            }
            .init(shape, device)
        };
        LinformerAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            key_projection: projection(),
            value_projection: projection(),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            rotary: self.rotary,
        }
    }
}

/// Attention over `r` mixtures of the document's keys and values, whose shares are learned by
/// position and the same for every document.
///
/// ```text
/// C = merge(softmax(Q (E K)ᵀ / √d) F V),   E, F: r × n
/// ```
///
/// (equation 7 of the paper). A shorter document uses the first columns of E and F; padding is zero.
/// A class row is a landmark more, and reads as a token does. Built by
/// [`LinformerAttentionConfig`].
#[derive(Module, Debug)]
pub struct LinformerAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// `E` `[h or 1, r, positions]`
    pub key_projection: Param<Tensor<3>>,
    /// `F` `[h or 1, r, positions]`
    pub value_projection: Param<Tensor<3>>,
    /// Probability of attention dropout.
    pub dropout: Dropout,
    heads: usize,
    rotary: bool,
}

impl LinformerAttention {
    /// What the heads read of the sequence.
    ///
    /// # Shapes
    ///
    /// - tokens: `[b, n, D]`, `1 ≤ n ≤` the configured `projected_length`; class row:
    ///   `[documents, 1, D]`
    /// - output: as the rows given
    ///
    /// A padded row gives zeros, as do all rows of a document without a real token.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other, or if a document is longer
    /// than the projections.
    pub fn contexts(&self, input: AttentionInput) -> Contexts {
        let layers = [&self.query, &self.key, &self.value];
        Prepared::of(input, layers, self.heads, self.rotary).by_document(|part| self.attend(part))
    }

    fn attend(&self, part: &Part) -> Tensor<4> {
        let Rows { query, key, value } = part.rows.clone();
        let landmarks = (
            project(part, key.clone(), &self.key_projection),
            project(part, value.clone(), &self.value_projection),
        );
        let (scale, device) = (scale_of(&query), query.device());
        ops::attend(Attend {
            query,
            key,
            value,
            landmarks: Some(landmarks),
            landmark_bias: None,
            bias: None,
            relative_keys: None,
            layout: part.layout_from(0),
            visibility: Window::Off.into(),
            scale,
            dropout: hash_dropout(&self.dropout, &device, part.dropout_seed),
        })
        .output
    }
}

/// The class row, where there is one, and mixtures of the tokens, `[b, h, own + r, d]`.
fn project(part: &Part, rows: Tensor<4>, projection: &Param<Tensor<3>>) -> Tensor<4> {
    let [b, h, m, _] = rows.dims();
    let n = m - part.own;
    let [_, r, length] = projection.dims();
    assert!(
        n <= length,
        "a document of {n} tokens, where the projections know {length} positions"
    );
    let tokens = part.only_real(rows.clone()).narrow(2, part.own, n);
    let shares = projection.val().narrow(2, 0, n).cast(tokens.dtype());
    // One token's product is elementwise: Burn's products with one can be wrong (burn#5122).
    let mixed = match n {
        1 => shares.unsqueeze_dim::<4>(0) * tokens,
        _ => shares
            .unsqueeze_dim::<4>(0)
            .expand([b, h, r, n])
            .matmul(tokens),
    };
    match part.own {
        0 => mixed,
        own => Tensor::cat(vec![rows.narrow(2, 0, own), mixed], 2),
    }
}
