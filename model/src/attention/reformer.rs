//! Attention among alike rows, found by hashing: Reformer (Kitaev et al. 2020, arXiv 2001.04451).

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};

use super::heads::{AttentionInput, Contexts, split};
use super::rows::{Part, Prepared, Rows, check_fields, lowest, scale_of};
use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::ops::layers::{linear, linear_through};
use crate::ops::{self, Attend, Layout, Window};
use crate::seed::hash_dropout;

/// Configuration of a [`ReformerAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct ReformerAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Length of a chunk of the sorted rows; a row sees its chunk and half of both neighbours.
    #[config(default = 64)]
    pub chunk: usize,
    /// Buckets of the hash, an even number.
    #[config(default = 64)]
    pub buckets: usize,
    /// Rounds of hashing, each with another hash.
    #[config(default = 2)]
    pub rounds: usize,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl ReformerAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("chunk", self.chunk),
            ("buckets", self.buckets),
            ("rounds", self.rounds),
        ];
        refuse_zero(sizes)?;
        refuse_too_large(sizes)?;
        if !self.buckets.is_multiple_of(2) {
            let problem = format!("must be even, {} is not", self.buckets);
            return Err(ConfigError::new("buckets", problem));
        }
        check_fields(
            self.d_model,
            self.heads,
            self.attention_dropout,
            self.rotary,
        )
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, buckets, rounds] =
            [self.d_model, self.buckets, self.rounds].map(|x| x as f64);
        let seen = Window::segments(self.chunk).span() as f64;
        // Hashes; scores and sums, of keys as well where rounds are weighed.
        let sums = if self.rounds > 1 { 8.0 } else { 4.0 };
        let round = n * buckets * d_model + sums * n * seen.min(n) * d_model;
        4.0 * n * d_model * d_model + rounds * round
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        let [d, buckets, rounds] = [self.d_model, self.buckets, self.rounds].map(|x| x as u128);
        d * (2 * d + buckets * rounds)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers. The directions of the
    /// hashes are drawn by the device's generator, and stay.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> ReformerAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        let d = self.d_model / self.heads;
        let shape = [self.heads, d, self.rounds * self.buckets / 2];
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        ReformerAttention {
            query: linear(),
            value: linear(),
            directions: normal.init::<3, _>(shape, device).set_require_grad(false),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            chunk: self.chunk,
            rounds: self.rounds,
            rotary: self.rotary,
        }
    }
}

/// Locality-sensitive hashing attention with shared queries and keys.
///
/// ```text
/// Q = split(X W_qk),   K = Q / |Q|,   V = split(X W_v)
/// bucket = argmax [Q R | −Q R],       rows sorted by bucket, then by place
/// a round: o = softmax over the chunk and its neighbours of Q Kᵀ / √d,   z = log Σ exp
/// C = Σ over rounds of exp(z_round − log Σ exp z) o_round
/// ```
///
/// (equations 3 to 6 and figure 2 of the paper). A row sees itself only where it sees nothing else.
/// Here, as the authors' code allows, neighbours in the sorted order see each other across buckets,
/// and a pair that meets in two rounds counts twice; the neighbourhood reaches to both sides, for
/// nothing is causal. A class row is seen by every token, and reads the whole document. Built by
/// [`ReformerAttentionConfig`].
#[derive(Module, Debug)]
pub struct ReformerAttention {
    /// `W_qk`, of queries and keys.
    pub query: Linear,
    /// `W_v`
    pub value: Linear,
    /// `R` `[h, d, rounds · buckets / 2]`, round by round; not trained.
    pub directions: Param<Tensor<3>>,
    /// Probability of attention dropout.
    pub dropout: Dropout,
    heads: usize,
    chunk: usize,
    rounds: usize,
    rotary: bool,
}

impl ReformerAttention {
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
        Prepared::new(input, d_model, self.rotary, |x| {
            let (query, x) = linear_through(x, &self.query);
            let query = split(query, self.heads);
            let length = query.clone().square().sum_dim(3).add_scalar(1e-12).sqrt();
            Rows {
                key: query.clone() / length,
                query,
                value: split(linear(x, &self.value), self.heads),
            }
        })
        .by_document(|part| {
            let [_, _, m, _] = part.rows.query.dims();
            let tokens = self.attend(part, part.rows.narrow(part.own, m - part.own));
            part.behind_class_row(tokens)
        })
    }

    /// The tokens' contexts. Letters: `g = b · h · rounds` sequences of `n` tokens.
    fn attend(&self, part: &Part, tokens: Rows) -> Tensor<4> {
        let [b, h, n, d] = tokens.query.dims();
        let rounds = self.rounds;
        let g = b * h * rounds;
        let device = tokens.query.device();
        let dtype = tokens.query.dtype();
        let order = self.order(part, tokens.query.clone());
        let back = order.clone().argsort(1);
        // [b, h, n, x] → [g, n, x] → in the order of the round
        let arranged = |x: Tensor<4>, order: &Tensor<2, Int>| {
            let [_, _, _, features] = x.dims();
            let x = x.unsqueeze_dim::<5>(2).expand([b, h, rounds, n, features]);
            gather(x.reshape([g, n, features]), order)
        };
        let head = |x: Tensor<3>| x.unsqueeze_dim::<4>(1);
        let rows = tokens.map(|x| head(arranged(x, &order)));
        let layout = match part.layout_from(part.own) {
            Layout::Padded(mask) => {
                let mask = mask.float().reshape([b, 1, n, 1]).expand([b, h, n, 1]);
                Layout::Padded(arranged(mask, &order).greater_elem(0.5).reshape([g, n]))
            }
            other => other,
        };
        let class_row = (part.own > 0).then(|| {
            let row = part.rows.narrow(0, 1);
            let rows = |x: Tensor<4>| {
                let x = x.unsqueeze_dim::<5>(2).expand([b, h, rounds, 1, d]);
                x.reshape([g, 1, 1, d])
            };
            (rows(row.key), rows(row.value))
        });
        let window = Window::segments(self.chunk);
        let at_itself: Vec<f32> = (0..window.offsets())
            .map(|offset| if offset == window.reach() { 1.0 } else { 0.0 })
            .collect();
        let itself = match lowest(dtype) {
            lowest if lowest > -1e5 => lowest,
            _ => -1e5,
        };
        let bias = Tensor::<1>::from_floats(at_itself.as_slice(), &device) * itself;
        let scale = scale_of(&rows.query);
        let dropout = hash_dropout(&self.dropout, &device, part.dropout_seed);
        let attend = |query, key, value, landmarks| {
            ops::attend(Attend {
                query,
                key,
                value,
                landmarks,
                landmark_bias: None,
                bias: Some(bias.clone().cast(dtype).unsqueeze()),
                relative_keys: None,
                layout: layout.clone(),
                visibility: window.into(),
                scale,
                dropout,
            })
        };
        let attended = attend(
            rows.query.clone(),
            rows.key.clone(),
            rows.value,
            class_row.clone(),
        );
        let unsorted = |x: Tensor<4>| {
            let [_, _, _, features] = x.dims();
            let x = gather(x.reshape([g, n, features]), &back);
            x.reshape([b, h, rounds, n, features])
        };
        if rounds == 1 {
            return unsorted(attended.output).squeeze_dim(2);
        }
        // The log-sum-exp is a constant to autodiff. Its gradient is the mean of the scores', and
        // with probabilities that do not move, so is that of `q · Σ p k`.
        let keys = class_row.map(|(key, _)| (key.clone().detach(), key));
        let (query, key) = (rows.query.clone().detach(), rows.key.clone().detach());
        let mean_key = attend(query, key, rows.key, keys).output;
        let mean_score = (rows.query * mean_key).sum_dim(3) * scale;
        let log_sum_exp = attended.log_sum_exp.unsqueeze_dim::<4>(3);
        let log_sum_exp = log_sum_exp.cast(dtype) + mean_score.clone() - mean_score.detach();
        let log_sum_exp = match &layout {
            Layout::Padded(mask) => {
                let padding = mask.clone().bool_not().reshape([g, 1, n, 1]);
                log_sum_exp.mask_fill(padding, 0.0)
            }
            _ => log_sum_exp,
        };
        let both = unsorted(Tensor::cat(vec![attended.output, log_sum_exp], 3));
        let share = softmax(both.clone().narrow(4, d, 1), 2);
        (both.narrow(4, 0, d) * share).sum_dim(2).squeeze_dim(2)
    }

    /// For every round the tokens by bucket, then by place; padding last. `[g, n]`
    fn order(&self, part: &Part, query: Tensor<4>) -> Tensor<2, Int> {
        let [b, h, n, d] = query.dims();
        let rounds = self.rounds;
        let g = b * h * rounds;
        let [_, _, columns] = self.directions.dims();
        let directions = self.directions.val().detach().cast(query.dtype());
        let directions = directions.unsqueeze_dim::<4>(0).expand([b, h, d, columns]);
        let turned = query.detach().matmul(directions);
        let turned = turned.reshape([b, h, n, rounds, columns / rounds]);
        let turned = Tensor::cat(vec![turned.clone(), -turned], 4);
        let bucket = turned.argmax(4).reshape([b, h, n, rounds]);
        let bucket = bucket.swap_dims(2, 3).reshape([g, n]);
        let bucket = match part.layout_from(part.own) {
            Layout::Padded(mask) => {
                let mask = mask.reshape([b, 1, n]).expand([b, h * rounds, n]);
                let last = 2 * (columns / rounds) as i32;
                bucket.mask_fill(mask.bool_not().reshape([g, n]), last)
            }
            _ => bucket,
        };
        let place = Tensor::<1, Int>::arange(0..n as i64, &bucket.device());
        (bucket * n as i32 + place.unsqueeze()).argsort(1)
    }
}

/// The rows of `x` `[g, n, features]` in this order `[g, n]`.
fn gather(x: Tensor<3>, order: &Tensor<2, Int>) -> Tensor<3> {
    let shape = x.dims();
    x.gather(1, order.clone().unsqueeze_dim::<3>(2).expand(shape))
}
