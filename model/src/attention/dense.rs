//! Dense softmax attention (Vaswani et al. 2017, arXiv 1706.03762): every token sees every token of
//! its document, at a cost that grows with the square of the length.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Device, Tensor};

use super::heads::{AttentionInput, Contexts, check_heads, merge, split};
use super::rotary::check_rotary;
use crate::error::{ConfigError, check_dropout, refuse_too_large};
use crate::ops::Layout;
use crate::ops::layers::{layer_norm_through, linear, linear_through};

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
        refuse_too_large([("d_model", self.d_model)])?;
        check_heads(self.d_model, self.heads)?;
        check_dropout("attention_dropout", self.attention_dropout)?;
        match self.rotary {
            true => check_rotary(self.d_model / self.heads),
            false => Ok(()),
        }
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

/// Queries, keys and values, all `[b, h, n, d]`.
#[derive(Clone)]
struct Heads {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
}

impl Heads {
    fn map(self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self {
            query: change(self.query),
            key: change(self.key),
            value: change(self.value),
        }
    }

    /// `first`'s rows, then these.
    fn behind(self, first: Option<Self>) -> Self {
        let Some(first) = first else { return self };
        let cat = |a, b| Tensor::cat(vec![a, b], 2);
        Self {
            query: cat(first.query, self.query),
            key: cat(first.key, self.key),
            value: cat(first.value, self.value),
        }
    }
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
        let [d_model, _] = self.query.weight.dims();
        input.check(d_model);
        let layout = input.layout;
        let [_, n, _] = input.tokens.dims();
        let (tokens, residual) = match &input.norm {
            Some(norm) => layer_norm_through(input.tokens, norm),
            None => (input.tokens.clone(), input.tokens),
        };
        let mut tokens = self.heads(tokens);
        if self.rotary {
            let rotation = layout.rotation(n, d_model / self.heads, &residual.device());
            tokens.query = rotation.turn(tokens.query);
            tokens.key = rotation.turn(tokens.key);
        }
        let class_row = input.class_row.map(|row| self.heads(row));
        let first_token = usize::from(class_row.is_some());
        let (tokens, class_row) = match layout.layout() {
            Layout::Full | Layout::Padded(_) => {
                let real = layout
                    .real_rows(first_token)
                    .zip(layout.real_shares(first_token));
                apart(self.attend(tokens.behind(class_row), real), first_token)
            }
            Layout::Packed(boundaries) => {
                let (mut contexts, mut class_rows) = (Vec::new(), Vec::new());
                for (document, range) in boundaries.ranges().enumerate() {
                    let own = class_row.clone();
                    let own = own.map(|row| row.map(|row| row.narrow(0, document, 1)));
                    if range.is_empty() {
                        class_rows.extend(own.map(|row| row.value.zeros_like()));
                        continue;
                    }
                    let rows = tokens.clone();
                    let rows = rows.map(|rows| rows.narrow(2, range.start, range.len()));
                    let (context, row) = apart(self.attend(rows.behind(own), None), first_token);
                    contexts.push(context);
                    class_rows.extend(row);
                }
                let class_rows = class_row.map(|_| Tensor::cat(class_rows, 0));
                (Tensor::cat(contexts, 2), class_rows)
            }
        };
        Contexts {
            tokens: merge(tokens),
            class_row: class_row.map(merge),
            residual,
        }
    }

    fn heads(&self, x: Tensor<3>) -> Heads {
        let [_, _, d_model] = x.dims();
        let scale = ((d_model / self.heads) as f64).powf(-0.5);
        let (query, x) = linear_through(x, &self.query);
        let (key, x) = linear_through(x, &self.key);
        Heads {
            query: split(query, self.heads) * scale,
            key: split(key, self.heads),
            value: split(linear(x, &self.value), self.heads),
        }
    }

    /// `softmax(Q Kᵀ) V`, `[b, h, m, d]`; 0 where a query is padding or its document has no real
    /// token. `real` says which rows are tokens, `[b, m]`, and once more as 1 and 0,
    /// `[b, 1, m, 1]`.
    fn attend(&self, rows: Heads, real: Option<(Tensor<2, Bool>, Tensor<4>)>) -> Tensor<4> {
        let [b, h, m, _] = rows.query.dims();
        // One row sees itself, and Burn's products with one row can be wrong (burn#5122).
        let context = match m {
            1 => rows.value,
            _ => {
                let mut scores = rows.query.matmul(rows.key.swap_dims(2, 3));
                if let Some((real, _)) = &real {
                    let padding = real.clone().bool_not().reshape([b, 1, 1, m]);
                    // Finite, for a row of nothing else has to have a softmax.
                    let lowest = match scores.dtype() {
                        DType::F16 => -6e4,
                        _ => -1e9,
                    };
                    scores = scores.mask_fill(padding.expand([b, h, m, m]), lowest);
                }
                self.dropout.forward(softmax(scores, 3)).matmul(rows.value)
            }
        };
        match real {
            None => context,
            Some((_, shares)) => {
                let shares = shares.cast(context.dtype());
                context * shares
            }
        }
    }
}

/// The tokens' rows and the class row, where it is the first.
fn apart(rows: Tensor<4>, first_token: usize) -> (Tensor<4>, Option<Tensor<4>>) {
    let [_, _, m, _] = rows.dims();
    match first_token {
        0 => (rows, None),
        first => {
            let class_row = rows.clone().narrow(2, 0, first);
            (rows.narrow(2, first, m - first), Some(class_row))
        }
    }
}
