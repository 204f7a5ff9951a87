//! A sliding window with a few global tokens: Longformer (Beltagy et al. 2020, arXiv 2004.05150).

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::heads::{AttentionInput, Contexts};
use super::rows::{Part, Prepared, Rows, check_fields, lowest, read_document, scale_of};
use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::ops::{self, Attend, LandmarksSeen, Visibility, Window};
use crate::seed::hash_dropout;

/// Configuration of a [`LongformerAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct LongformerAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Window `w` in tokens: a token sees `⌊w/2⌋` on either side.
    #[config(default = 8)]
    pub window: usize,
    /// How many rows at a document's start all tokens see, and see all tokens. A class row is the
    /// first of them.
    #[config(default = 1)]
    pub global_tokens: usize,
    /// Dropout of attention probabilities while training; global tokens drop none.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl LongformerAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_zero([("window", self.window)])?;
        refuse_too_large([
            ("window", self.window),
            ("global_tokens", self.global_tokens),
        ])?;
        check_fields(
            self.d_model,
            self.heads,
            self.attention_dropout,
            self.rotary,
        )
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, window, global] =
            [self.d_model, self.window, self.global_tokens].map(|x| x as f64);
        let seen = (window + 1.0 + global).min(n);
        12.0 * n * d_model * d_model + 4.0 * n * (seen + global) * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        6 * (self.d_model as u128).pow(2)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> LongformerAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        LongformerAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            global_query: linear(),
            global_key: linear(),
            global_value: linear(),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            window: self.window,
            global_tokens: self.global_tokens,
            rotary: self.rotary,
        }
    }
}

/// A sliding window, and global tokens with projections of their own.
///
/// ```text
/// C_i = softmax(Q_i [K_global | K_{i−⌊w/2⌋ … i+⌊w/2⌋}]ᵀ / √d) [V_global | V_{…}]
/// C_g = softmax(Q'_g K'ᵀ / √d) V'            for a global token g, over the whole document
/// ```
///
/// (sections 3.1 and 3.2 of the paper; Q', K', V' are its "linear projections for global
/// attention"). Built by [`LongformerAttentionConfig`].
#[derive(Module, Debug)]
pub struct LongformerAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// `W'_q`
    pub global_query: Linear,
    /// `W'_k`
    pub global_key: Linear,
    /// `W'_v`
    pub global_value: Linear,
    /// Probability of attention dropout.
    pub dropout: Dropout,
    heads: usize,
    window: usize,
    global_tokens: usize,
    rotary: bool,
}

impl LongformerAttention {
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
        let local = [&self.query, &self.key, &self.value];
        let global = [&self.global_query, &self.global_key, &self.global_value];
        // One set of heads behind the other.
        Prepared::new(input, d_model, self.rotary, |x| {
            let (local, global) = (
                Rows::of(x.clone(), local, self.heads),
                Rows::of(x, global, self.heads),
            );
            let cat = |a, b| Tensor::cat(vec![a, b], 1);
            Rows {
                query: cat(local.query, global.query),
                key: cat(local.key, global.key),
                value: cat(local.value, global.value),
            }
        })
        .by_document(|part| self.attend(part))
    }

    fn attend(&self, part: &Part) -> Tensor<4> {
        let h = self.heads;
        let (local, global) = (part.rows.heads(0, h), part.rows.heads(h, h));
        let [b, _, m, _] = local.query.dims();
        let globals = self.global_tokens.min(m);
        let mut contexts = Vec::new();
        if globals > 0 {
            let query = global.query.narrow(2, 0, globals);
            let layout = part.layout_from(0);
            contexts.push(read_document(query, global.key, global.value, layout));
        }
        if globals < m {
            let seen = (globals > 0).then(|| local.narrow(0, globals));
            let rest = local.narrow(globals, m - globals);
            let device = rest.query.device();
            let scale = scale_of(&rest.query);
            // A window of `2 reach + 1` that ends `reach` tokens behind the query's own.
            let reach = self.window / 2;
            let padding = part.real.as_ref().filter(|_| seen.is_some()).map(|real| {
                let hidden = real.shares.clone().narrow(2, 0, globals);
                let hidden = (hidden - 1.0) * -lowest(rest.query.dtype());
                let bias = hidden.reshape([b, 1, globals]).expand([b, h, globals]);
                bias.cast(rest.query.dtype())
            });
            let attended = ops::attend(Attend {
                query: rest.query,
                key: rest.key,
                value: rest.value,
                landmarks: seen.map(|seen| (seen.key, seen.value)),
                landmark_bias: padding,
                bias: None,
                relative_keys: None,
                layout: part.layout_from(globals),
                visibility: Visibility {
                    window: Window::Causal {
                        width: 2 * reach + 1,
                    },
                    memory: reach,
                    landmarks: LandmarksSeen::All,
                },
                scale,
                dropout: hash_dropout(&self.dropout, &device, part.dropout_seed),
            });
            contexts.push(attended.output);
        }
        Tensor::cat(contexts, 2)
    }
}
