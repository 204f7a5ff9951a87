//! Softmax attention by landmarks and a pseudo-inverse: Nyströmformer (Xiong et al. 2021, arXiv
//! 2102.03902).

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};

use super::heads::{AttentionInput, Contexts};
use super::long_short::convolve_rows;
use super::rows::{Part, Prepared, Rows, check_fields, scale_of};
use crate::error::{ConfigError, refuse_too_large};
use crate::ops;

/// Steps towards the pseudo-inverse, as in the paper's code.
const STEPS: usize = 6;

/// Configuration of a [`NystromAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct NystromAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Landmarks `r` per head, at least 2.
    #[config(default = 32)]
    pub rank: usize,
    /// Odd length of a depthwise convolution over the values, added to the output.
    #[config(default = "None")]
    pub conv_kernel: Option<usize>,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl NystromAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let kernel = self.conv_kernel.unwrap_or(1);
        refuse_too_large([("rank", self.rank), ("conv_kernel", kernel)])?;
        if self.rank < 2 {
            return Err(ConfigError::new("rank", "must be at least 2"));
        }
        if kernel.is_multiple_of(2) {
            let problem = format!("must be odd, {kernel} is not");
            return Err(ConfigError::new("conv_kernel", problem));
        }
        check_fields(self.d_model, self.heads, 0.0, self.rotary)
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, r, heads] = [self.d_model, self.rank, self.heads].map(|x| x as f64);
        let conv = self.conv_kernel.unwrap_or(0) as f64;
        // Means, both thin matrices, what landmarks read, and the last product; then what is r × r.
        let thin = 14.0 * n * r * d_model + 2.0 * n * r * r * heads;
        let small = heads * STEPS as f64 * 8.0 * r * r * r;
        6.0 * n * d_model * d_model + thin + small + 2.0 * n * conv * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        3 * (self.d_model as u128).pow(2)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers; the convolution starts
    /// at zero.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> NystromAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        NystromAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            conv: self
                .conv_kernel
                .map(|kernel| Initializer::Zeros.init([self.heads, 1, kernel, 1], device)),
            heads: self.heads,
            rank: self.rank,
            rotary: self.rotary,
        }
    }
}

/// The Nyström approximation of softmax attention; a class row is one more token.
///
/// ```text
/// Q̃, K̃ = means of Q and K over r stretches of the document
/// C = softmax(Q K̃ᵀ / √d) softmax(Q̃ K̃ᵀ / √d)⁺ softmax(Q̃ Kᵀ / √d) V + conv(V)
/// ```
///
/// (equation 13 and algorithm 1 of the paper; the pseudo-inverse by six steps of its equation 11.)
/// Stretches are as long as each other where `r` divides the length, else they overlap by a token,
/// so that any length has `r`. There are no probabilities that could be dropped. Built by
/// [`NystromAttentionConfig`].
#[derive(Module, Debug)]
pub struct NystromAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// Depthwise kernels `[h, 1, k, 1]`.
    pub conv: Option<Param<Tensor<4>>>,
    heads: usize,
    rank: usize,
    rotary: bool,
}

impl NystromAttention {
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
            let context = self.attend(part);
            match &self.conv {
                None => context,
                Some(kernel) => {
                    let value = part.only_real(part.rows.value.clone());
                    context + convolve_rows(value, kernel.val())
                }
            }
        })
    }

    fn attend(&self, part: &Part) -> Tensor<4> {
        let Rows { query, key, value } = part.rows.clone();
        let [b, h, m, _] = query.dims();
        // One row sees itself, and Burn's products with one row can be wrong (burn#5122).
        if m == 1 {
            return value;
        }
        let stretches = self.stretches(part).cast(query.dtype());
        let stretches = stretches.expand([b, h, self.rank, m]);
        let means = |x: Tensor<4>| stretches.clone().matmul(part.only_real(x));
        let scale = scale_of(&query);
        let query = query * scale;
        let (query_means, key_means) = (means(query.clone()), means(key.clone()));
        let near = softmax(query.matmul(key_means.clone().swap_dims(2, 3)), 3);
        let middle = softmax(query_means.clone().matmul(key_means.swap_dims(2, 3)), 3);
        let scores = query_means.matmul(key.swap_dims(2, 3));
        let read = ops::project(scores, value.clone(), value, part.layout_from(0)).value;
        near.matmul(pseudo_inverse(middle)).matmul(read)
    }

    /// The share of each token in each mean, `[b or 1, 1, r, m]`: of `l` tokens, those from
    /// `⌊t l / r⌋` up to `⌈(t + 1) l / r⌉`.
    fn stretches(&self, part: &Part) -> Tensor<4> {
        let (r, device) = (self.rank as i32, part.rows.query.device());
        let [_, _, m, _] = part.rows.query.dims();
        let range = |end: usize| Tensor::<1, Int>::arange(0..end as i64, &device);
        // Each token's number among its document's, [b, 1, m], and how many there are, [b, 1, 1].
        let (number, length) = match &part.real {
            None => {
                let length = Tensor::<3, Int>::full([1, 1, 1], m as i32, &device);
                (range(m).reshape([1, 1, m]), length)
            }
            Some(real) => {
                let [b, _] = real.mask.dims();
                let ones = real.mask.clone().int().reshape([b, 1, m]);
                (ones.clone().cumsum(2) - 1, ones.sum_dim(2))
            }
        };
        let mean = range(self.rank).reshape([1, self.rank, 1]);
        let start = mean.clone() * length.clone() / r;
        let end = ((mean + 1) * length + (r - 1)) / r;
        let within = number.clone().greater_equal(start.clone());
        let within = within.bool_and(number.lower(end.clone())).float();
        let count = (end - start).clamp_min(1).float();
        (within / count).unsqueeze_dim(1)
    }
}

/// The Moore–Penrose inverse of matrices `[b, h, r, r]` with rows that sum up to 1, nearly.
fn pseudo_inverse(matrix: Tensor<4>) -> Tensor<4> {
    let [b, h, r, _] = matrix.dims();
    let identity = Tensor::<2>::eye(r, &matrix.device()).cast(matrix.dtype());
    let identity = identity.reshape([1, 1, r, r]).expand([b, h, r, r]);
    // The largest sum of a column; that of a row is 1.
    let norm = matrix.clone().sum_dim(2).max_dim(3);
    let mut inverse = matrix.clone().swap_dims(2, 3) / norm;
    for _ in 0..STEPS {
        let product = matrix.clone().matmul(inverse.clone());
        let inner = identity.clone() * 7.0 - product.clone();
        let inner = identity.clone() * 15.0 - product.clone().matmul(inner);
        let inner = identity.clone() * 13.0 - product.matmul(inner);
        inverse = inverse.matmul(inner) * 0.25;
    }
    inverse
}
