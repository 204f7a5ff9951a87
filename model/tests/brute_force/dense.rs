//! Problems of one document a row, and the definition's results for them: the same definition that the
//! CPU kernels are compared with, in float64, every query against every key, with loops. Its
//! gradients are compared with finite differences there.

#[path = "../../../kernels-cpu/tests/common/mod.rs"]
mod definition;

use definition::dense::{Attend, Project};
use definition::{Batch, Tensor};
use transformer_ls_burn::ops::{AttentionDropout, Visibility, Window};

/// Random numbers of a test case (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// Uniform in [−1, 1).
    pub fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        bits as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn many(&mut self, count: usize, scale: f64) -> Vec<f64> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

/// A problem with one document a row. Queries are `[b, h, n, d]`, keys `[b, h, m, d]`, landmarks
/// `[b, h, r, d]`.
#[derive(Clone)]
pub struct Problem {
    pub b: usize,
    pub h: usize,
    pub n: usize,
    pub m: usize,
    pub d: usize,
    pub r: usize,
    pub visibility: Visibility,
    pub scale: f64,
    pub real: Vec<bool>,
    /// query, key, value, landmark key, landmark value, bias table, relative keys, landmarks' bias, in
    /// this order.
    pub inputs: [Vec<f64>; 8],
    pub with_bias: bool,
    pub with_relative_keys: bool,
    /// Whether landmarks have a bias; the tables have entries for them wherever they are as long.
    pub with_landmark_bias: bool,
    pub dropout: AttentionDropout,
}

impl Problem {
    /// `real(document, token)` marks real tokens.
    pub fn new(
        [b, h, n, d]: [usize; 4],
        [w, r]: [usize; 2],
        size: f64,
        seed: u64,
        real: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let mut random = Random::new(seed);
        let reach = (w + (w / 2).max(1)).saturating_sub(1);
        let counts = [
            b * h * n * d,
            b * h * n * d,
            b * h * n * d,
            b * h * r * d,
            b * h * r * d,
            h * (2 * reach + 1),
            h * (2 * reach + 1) * d,
            b * h * r,
        ];
        let mut inputs = counts.map(|count| random.many(count, 1.0));
        inputs[0].iter_mut().for_each(|x| *x *= size);
        Self {
            b,
            h,
            n,
            m: n,
            d,
            r,
            visibility: Window::segments(w).into(),
            scale: 1.0 / (d as f64).sqrt(),
            real: (0..b * n).map(|i| real(i / n, i % n)).collect(),
            inputs,
            with_bias: false,
            with_relative_keys: false,
            with_landmark_bias: false,
            dropout: AttentionDropout::OFF,
        }
    }

    /// Changes who sees whom, and draws keys and table anew. Where there are as many keys as queries
    /// documents keep their padding; else all tokens are real.
    pub fn see(&mut self, visibility: Visibility, keys: usize) {
        let mut random = Random::new(keys as u64);
        let count = self.b * self.h * keys * self.d;
        (self.m, self.visibility) = (keys, visibility);
        self.inputs[1] = random.many(count, 1.0);
        self.inputs[2] = random.many(count, 1.0);
        let offsets = self.h * visibility.window.offsets();
        self.inputs[5] = random.many(offsets, 1.0);
        self.inputs[6] = random.many(offsets * self.d, 1.0);
    }

    /// Gives landmark scores all terms that they may have.
    pub fn with_landmark_terms(mut self) -> Self {
        let mut random = Random::new(77);
        let entries = self.h * (self.visibility.window.offsets() + self.r);
        self.inputs[5] = random.many(entries, 1.0);
        self.inputs[6] = random.many(entries * self.d, 1.0);
        (self.with_bias, self.with_relative_keys) = (true, true);
        self.with_landmark_bias = true;
        self
    }

    /// Output `[b, h, n, d]` and log-sum-exp `[b, h, n]`.
    pub fn attend(&self) -> (Vec<f64>, Vec<f64>) {
        let attended = self.defined().run::<f64>(&Tensor::zeros(self.tokens()));
        (attended.output.data, attended.log_sum_exp.data)
    }

    /// Gradients of `Σ output ∘ d_output` for each input.
    pub fn attend_gradients(&self, d_output: &[f64]) -> [Vec<f64>; 8] {
        let attended = self.defined().run::<f64>(&tensor(d_output, self.tokens()));
        [
            attended.d_query.data,
            attended.d_key.data,
            attended.d_value.data,
            attended.d_landmark_key.data,
            attended.d_landmark_value.data,
            attended.d_bias.map_or(Vec::new(), |bias| bias.data),
            attended
                .d_relative_keys
                .map_or(Vec::new(), |keys| keys.data),
            attended
                .d_landmark_bias
                .map_or(Vec::new(), |bias| bias.data),
        ]
    }

    fn tokens(&self) -> [usize; 4] {
        [self.b, self.h, self.n, self.d]
    }

    fn defined(&self) -> Attend {
        let [
            query,
            key,
            value,
            landmark_key,
            landmark_value,
            bias,
            relative_keys,
            landmark_bias,
        ] = &self.inputs;
        let offsets = bias.len() / self.h;
        let keys = [self.b, self.h, self.m, self.d];
        let landmarks = [self.b, self.h, self.r, self.d];
        Attend {
            query: tensor(query, self.tokens()),
            key: tensor(key, keys),
            value: tensor(value, keys),
            landmark_key: tensor(landmark_key, landmarks),
            landmark_value: tensor(landmark_value, landmarks),
            landmark_bias: (self.with_landmark_bias)
                .then(|| tensor(landmark_bias, [1, self.b, self.h, self.r])),
            bias: (self.with_bias).then(|| tensor(bias, [1, 1, self.h, offsets])),
            relative_keys: (self.with_relative_keys)
                .then(|| tensor(relative_keys, [1, self.h, offsets, self.d])),
            batch: batch(&self.real),
            visibility: self.visibility,
            scale: self.scale,
            dropout: self.dropout,
        }
    }
}

fn tensor(data: &[f64], shape: [usize; 4]) -> Tensor {
    let data = data.to_vec();
    Tensor { shape, data }
}

fn batch(real: &[bool]) -> Batch {
    match real.iter().all(|&real| real) {
        true => Batch::Full,
        false => Batch::Padded(real.iter().map(|&real| real.into()).collect()),
    }
}

/// `[P K | P V | log Σ exp]`, `[b, h, r, 2d + 1]`, of scores `[b, h, r, n]`, keys and values; and
/// their gradients for this gradient of the output.
pub fn project(
    [b, h, r, n, d]: [usize; 5],
    [scores, key, value]: [&[f64]; 3],
    real: &[bool],
    d_output: &[f64],
) -> (Vec<f64>, [Vec<f64>; 3]) {
    let projected = Project {
        scores: tensor(scores, [b, h, r, n]),
        key: tensor(key, [b, h, n, d]),
        value: tensor(value, [b, h, n, d]),
        batch: batch(real),
    }
    .run::<f64>(&tensor(d_output, [b, h, r, 2 * d + 1]));
    let gradients = [projected.d_scores, projected.d_key, projected.d_value];
    (projected.output.data, gradients.map(|x| x.data))
}
