//! Attention by a kernel of features: "Transformers are RNNs" (Katharopoulos et al. 2020, arXiv
//! 2006.16236).

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::heads::{AttentionInput, Contexts};
use super::rows::{Part, Prepared, check_fields};
use crate::error::ConfigError;

/// Configuration of a [`LinearAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct LinearAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl LinearAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_fields(self.d_model, self.heads, 0.0, self.rotary)
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, heads] = [self.d_model, self.heads].map(|x| x as f64);
        6.0 * n * d_model * d_model + 4.0 * n * d_model * (d_model / heads)
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
    pub fn init(&self, device: &Device) -> LinearAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        LinearAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            heads: self.heads,
            rotary: self.rotary,
        }
    }
}

/// Linear attention over a sequence; a class row is one more token.
///
/// ```text
/// C_i = φ(Q_i)ᵀ (Σ_j φ(K_j) V_jᵀ) / φ(Q_i)ᵀ (Σ_j φ(K_j)),   φ(x) = elu(x) + 1
/// ```
///
/// (equations 5 and 7 of the paper). There are no probabilities that could be dropped. Built by
/// [`LinearAttentionConfig`].
#[derive(Module, Debug)]
pub struct LinearAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    heads: usize,
    rotary: bool,
}

impl LinearAttention {
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
        Prepared::of(input, layers, self.heads, self.rotary).by_document(|part| {
            let features = |x: Tensor<4>| x.clone().clamp_max(0.0).exp() + x.clamp_min(0.0);
            let (query, key) = (part.rows.query.clone(), part.rows.key.clone());
            read_by_features(part, features(query), features(key))
        })
    }
}

/// `φ(Q) (φ(K)ᵀ V)` over the tokens, each row divided by its shares' sum; `[b, h, m, d]` for features
/// `[b, h, m, F]` that are not negative.
pub(super) fn read_by_features(part: &Part, query: Tensor<4>, key: Tensor<4>) -> Tensor<4> {
    let value = part.rows.value.clone();
    let [b, h, m, d] = value.dims();
    // One row sees itself, and Burn's products with one row can be wrong (burn#5122).
    if m == 1 {
        return value;
    }
    let one = Tensor::ones([b, h, m, 1], (&value.device(), value.dtype()));
    let value = Tensor::cat(vec![value, one], 3);
    let state = part.only_real(key).swap_dims(2, 3).matmul(value);
    let read = query.matmul(state);
    // Above zero, for a document without a token has no shares.
    let shares = read.clone().narrow(3, d, 1).clamp_min(1e-6);
    read.narrow(3, 0, d) / shares
}
