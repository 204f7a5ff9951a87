//! Dense masked attention in float64, straight from the definitions: every query against every key,
//! with loops. Nothing here is shared with the crate but the
//! names of patterns.

use transformer_ls_burn::ops::{Grid, LandmarksSeen, Visibility, Window};

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

/// A factor for each probability by document, head, query and column.
pub type Factor = fn(usize, usize, usize, usize) -> f64;

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
    /// query, key, value, landmark key, landmark value, bias table, relative keys, in this order.
    pub inputs: [Vec<f64>; 7],
    pub with_bias: bool,
    pub with_relative_keys: bool,
    /// What each probability is multiplied by.
    pub dropout: Option<Factor>,
}

/// For the query at position `p` and the key `j`, if it sees it: the key's column among those of its
/// window, and the number of their offset.
fn pair(window: Window, p: usize, j: usize) -> Option<[usize; 2]> {
    let (p, j) = (p as i64, j as i64);
    // Along one dimension, from the first key seen to before the last, and the offset of the
    // farthest.
    let along = |p: i64, j: i64, first: i64, end: i64, reach: i64| {
        (first <= j && j < end).then_some([j - first, p - j + reach])
    };
    let around = |p: i64, j: i64, w: i64, e: i64| {
        let first = p / w * w;
        along(p, j, first - e, first + w + e, w - 1 + e)
    };
    let found = match window {
        Window::Off => None,
        Window::All => Some([j, 0]),
        Window::Segments { width } => around(p, j, width as i64, (width as i64 / 2).max(1)),
        Window::Causal { width } => along(p, j, p - width as i64 + 1, p + 1, 0),
        Window::Grid(Grid {
            columns,
            tile,
            halo,
        }) => {
            let [c, t, e] = [columns, tile, halo].map(|x| x as i64);
            let [row, down] = around(p / c, j / c, t, e)?;
            let [column, right] = around(p % c, j % c, t, e)?;
            let side = 2 * (t - 1 + e) + 1;
            Some([row * (t + 2 * e) + column, down * side + right])
        }
    };
    found.map(|pair| pair.map(|x| x as usize))
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
            dropout: None,
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

    fn is_real(&self, document: usize, key: usize) -> bool {
        self.m != self.n || self.real[document * self.n + key]
    }

    /// Output `[b, h, n, d]` and log-sum-exp `[b, h, n]`.
    pub fn attend(&self) -> (Vec<f64>, Vec<f64>) {
        let [q, k, v, lk, lv, bias, relative] = &self.inputs;
        let (n, m, d, r) = (self.n, self.m, self.d, self.r);
        let offsets = bias.len() / self.h;
        let Visibility {
            window,
            memory,
            landmarks,
        } = self.visibility;
        let mut output = vec![0.0; self.b * self.h * n * d];
        let mut sums = vec![0.0; self.b * self.h * n];
        for document in 0..self.b {
            for head in 0..self.h {
                let bh = document * self.h + head;
                for i in 0..n {
                    if !self.real[document * n + i] {
                        continue;
                    }
                    let query = &q[(bh * n + i) * d..][..d];
                    // (score, value row, column for dropout)
                    let mut seen: Vec<(f64, &[f64], usize)> = Vec::new();
                    let visible = match landmarks {
                        LandmarksSeen::All => r,
                        LandmarksSeen::Chunks {
                            before,
                            chunk,
                            rows,
                        } => r.min(before + i / chunk * rows),
                    };
                    for t in 0..visible {
                        let row = (bh * r + t) * d;
                        let score = dot(query, &lk[row..][..d]) * self.scale;
                        seen.push((score, &lv[row..][..d], t));
                    }
                    for j in (0..m).filter(|&j| self.is_real(document, j)) {
                        let Some([column, offset]) = pair(window, i + memory, j) else {
                            continue;
                        };
                        let row = (bh * m + j) * d;
                        let mut score = dot(query, &k[row..][..d]) * self.scale;
                        if self.with_relative_keys {
                            let row = (head * offsets + offset) * d;
                            score += dot(query, &relative[row..][..d]) * self.scale;
                        }
                        if self.with_bias {
                            score += bias[head * offsets + offset];
                        }
                        seen.push((score, &v[row..][..d], r + column));
                    }
                    let Some(max) = seen.iter().map(|s| s.0).reduce(f64::max) else {
                        continue;
                    };
                    let sum: f64 = seen.iter().map(|s| (s.0 - max).exp()).sum();
                    sums[bh * n + i] = max + sum.ln();
                    for (score, value, column) in seen {
                        let mut p = (score - max).exp() / sum;
                        if let Some(dropout) = self.dropout {
                            p *= dropout(document, head, i, column);
                        }
                        for (x, value) in value.iter().enumerate() {
                            output[(bh * n + i) * d + x] += p * value;
                        }
                    }
                }
            }
        }
        (output, sums)
    }

    /// Gradients of `Σ output ∘ d_output` for each input, by finite differences.
    pub fn attend_gradients(&self, d_output: &[f64]) -> [Vec<f64>; 7] {
        let step = 1e-5;
        let mut gradients = self.inputs.clone().map(|x| vec![0.0; x.len()]);
        for (which, gradient) in gradients.iter_mut().enumerate() {
            if (which == 5 && !self.with_bias) || (which == 6 && !self.with_relative_keys) {
                continue;
            }
            for (at, slot) in gradient.iter_mut().enumerate() {
                let mut shifted = self.clone();
                let mut loss = |by: f64| {
                    shifted.inputs[which][at] = self.inputs[which][at] + by;
                    dot(&shifted.attend().0, d_output)
                };
                *slot = (loss(step) - loss(-step)) / (2.0 * step);
            }
        }
        gradients
    }
}

/// `[P K | P V | log Σ exp]`, `[b, h, r, 2d + 1]`, of scores `[b, h, r, n]`.
pub fn project(
    [b, h, r, n, d]: [usize; 5],
    scores: &[f64],
    key: &[f64],
    value: &[f64],
    real: &[bool],
) -> Vec<f64> {
    let mut output = vec![0.0; b * h * r * (2 * d + 1)];
    for row in 0..b * h * r {
        let (bh, document) = (row / r, row / r / h);
        let seen: Vec<usize> = (0..n).filter(|t| real[document * n + t]).collect();
        let Some(max) = seen.iter().map(|t| scores[row * n + t]).reduce(f64::max) else {
            continue;
        };
        let sum: f64 = seen.iter().map(|t| (scores[row * n + t] - max).exp()).sum();
        let out = &mut output[row * (2 * d + 1)..][..2 * d + 1];
        for t in seen {
            let p = (scores[row * n + t] - max).exp() / sum;
            for x in 0..d {
                out[x] += p * key[(bh * n + t) * d + x];
                out[d + x] += p * value[(bh * n + t) * d + x];
            }
        }
        out[2 * d] = max + sum.ln();
    }
    output
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
