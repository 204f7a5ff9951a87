//! Softmax attention by positive orthogonal random features: Performer's FAVOR+ (Choromanski et al.
//! 2021, arXiv 2009.14794).

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor, TensorData};

use super::heads::{AttentionInput, Contexts};
use super::linear::read_by_features;
use super::rows::{Part, Prepared, check_fields, lowest};
use crate::error::{ConfigError, refuse_too_large};

/// Added to every feature, as in the paper's code: no share is zero.
const EPSILON: f64 = 1e-4;

/// Configuration of a [`PerformerAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct PerformerAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Random features a head, at least 2.
    #[config(default = 256)]
    pub features: usize,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl PerformerAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_too_large([("features", self.features)])?;
        if self.features < 2 {
            return Err(ConfigError::new("features", "must be at least 2"));
        }
        check_fields(self.d_model, self.heads, 0.0, self.rotary)
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, features] = [self.d_model, self.features].map(|x| x as f64);
        // Features of queries and keys, the state, and what is read of it.
        6.0 * n * d_model * d_model + 8.0 * n * features * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        let [d, features] = [self.d_model as u128, self.features as u128];
        d * (3 * d + features)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers. The directions of the
    /// features are drawn by the device's generator, and stay.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> PerformerAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        let d = self.d_model / self.heads;
        let drawn: Vec<Tensor<2>> = (0..self.heads)
            .map(|_| directions(self.features, d, device))
            .collect();
        PerformerAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            directions: Param::from_tensor(Tensor::stack(drawn, 0)).set_require_grad(false),
            heads: self.heads,
            rotary: self.rotary,
        }
    }
}

/// `[count, d]` directions as of independent normal vectors, but at right angles within each block
/// of `d` ("orthogonal random features", section 2.4 of the paper).
fn directions(count: usize, d: usize, device: &Device) -> Tensor<2> {
    let normal = |rows: usize| -> Vec<f64> {
        let drawn = Tensor::<2>::random([rows, d], Distribution::Normal(0.0, 1.0), device);
        drawn.into_data().iter::<f64>().collect()
    };
    let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (drawn, lengths) = (normal(count), normal(count));
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(count);
    for row in drawn.chunks(d) {
        let mut row = row.to_vec();
        let block = rows.len() / d * d;
        // Gram and Schmidt, twice for the sake of rounding.
        for other in rows[block..].iter().chain(&rows[block..]) {
            let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let norm = length(&row);
        rows.push(row.into_iter().map(|x| x / norm).collect());
    }
    let values: Vec<f32> = rows
        .iter()
        .zip(lengths.chunks(d))
        .flat_map(|(row, drawn)| row.iter().map(move |x| (x * length(drawn)) as f32))
        .collect();
    Tensor::from_data(TensorData::new(values, [count, d]), device)
}

/// FAVOR+ over a sequence; a class row is one more token.
///
/// ```text
/// C_i = φ(Q_i)ᵀ (Σ_j φ(K_j) V_jᵀ) / φ(Q_i)ᵀ (Σ_j φ(K_j))
/// φ(x) = exp(ω x̂ − |x̂|² / 2) / √features,   x̂ = x / d^¼,   ω orthogonal
/// ```
///
/// (lemma 1 and equation 4 of the paper; exponents are moved to at most 0 and features raised by
/// 10⁻⁴, as in its code). There are no probabilities that could be dropped. Built by
/// [`PerformerAttentionConfig`].
#[derive(Module, Debug)]
pub struct PerformerAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// ω `[h, features, d]`, which is not trained.
    pub directions: Param<Tensor<3>>,
    heads: usize,
    rotary: bool,
}

impl PerformerAttention {
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
        Prepared::of(input, layers, self.heads, self.rotary).by_document(|part| self.attend(part))
    }

    fn attend(&self, part: &Part) -> Tensor<4> {
        let [b, h, m, d] = part.rows.query.dims();
        if m == 1 {
            return part.rows.value.clone();
        }
        let [_, features, _] = self.directions.dims();
        let directions = self.directions.val().detach();
        let directions = directions.cast(part.rows.query.dtype());
        let directions = directions.swap_dims(1, 2).unsqueeze_dim::<4>(0);
        let directions = directions.expand([b, h, d, features]);
        let exponents = |x: Tensor<4>| {
            let x = x * (d as f64).powf(-0.25);
            let along = x.clone().matmul(directions.clone());
            (along, (x.clone() * x).sum_dim(3) * 0.5)
        };
        let share = (features as f64).powf(-0.5);
        let feature = |exponent: Tensor<4>| (exponent.exp() + EPSILON) * share;
        // A query's features have a factor of their own, all keys of a document and head one.
        let (along, half_square) = exponents(part.rows.query.clone());
        let largest = along.clone().detach().max_dim(3);
        let query = feature(along - half_square - largest);
        let (along, half_square) = exponents(part.rows.key.clone());
        let seen = along.clone().detach().max_dim(3);
        let seen = match &part.real {
            None => seen,
            Some(real) => {
                let padding = real.mask.clone().bool_not().reshape([b, 1, m, 1]);
                let lowest = lowest(seen.dtype());
                seen.mask_fill(padding.expand([b, h, m, 1]), lowest)
            }
        };
        // A document without a token has no largest; any other will do.
        let largest = seen.max_dim(2).clamp_min(-1e4);
        let exponent = (along - half_square - largest).clamp_max(0.0);
        read_by_features(part, query, feature(exponent))
    }
}
