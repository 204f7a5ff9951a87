//! Dense masked attention in float64, straight from the definitions: every query against every key,
//! with loops. Nothing here is shared with the crate.

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

/// A problem with one document a row. Tensors are `[b, h, n, d]`, landmarks `[b, h, r, d]`.
#[derive(Clone)]
pub struct Problem {
    pub b: usize,
    pub h: usize,
    pub n: usize,
    pub d: usize,
    pub r: usize,
    pub w: usize,
    pub scale: f64,
    pub real: Vec<bool>,
    /// query, key, value, landmark key, landmark value, bias table, in this order.
    pub inputs: [Vec<f64>; 6],
    pub with_bias: bool,
    /// What each probability is multiplied by.
    pub dropout: Option<Factor>,
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
        ];
        let mut inputs = counts.map(|count| random.many(count, 1.0));
        inputs[0].iter_mut().for_each(|x| *x *= size);
        Self {
            b,
            h,
            n,
            d,
            r,
            w,
            scale: 1.0 / (d as f64).sqrt(),
            real: (0..b * n).map(|i| real(i / n, i % n)).collect(),
            inputs,
            with_bias: false,
            dropout: None,
        }
    }

    fn halo(&self) -> usize {
        (self.w / 2).max(1)
    }

    fn sees(&self, query: usize, key: usize) -> bool {
        if self.w == 0 {
            return false;
        }
        let (first, e) = (query / self.w * self.w, self.halo());
        key + e >= first && key < first + self.w + e
    }

    /// Output `[b, h, n, d]` and log-sum-exp `[b, h, n]`.
    pub fn attend(&self) -> (Vec<f64>, Vec<f64>) {
        let [q, k, v, lk, lv, bias] = &self.inputs;
        let (n, d, r) = (self.n, self.d, self.r);
        let reach = (self.w + self.halo()).saturating_sub(1);
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
                    for t in 0..r {
                        let row = (bh * r + t) * d;
                        let score = dot(query, &lk[row..][..d]) * self.scale;
                        seen.push((score, &lv[row..][..d], t));
                    }
                    for j in 0..n {
                        if self.sees(i, j) && self.real[document * n + j] {
                            let row = (bh * n + j) * d;
                            let mut score = dot(query, &k[row..][..d]) * self.scale;
                            if self.with_bias {
                                score += bias[head * (2 * reach + 1) + i + reach - j];
                            }
                            let column = r + j + self.halo() - i / self.w * self.w;
                            seen.push((score, &v[row..][..d], column));
                        }
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
    pub fn attend_gradients(&self, d_output: &[f64]) -> [Vec<f64>; 6] {
        let step = 1e-5;
        let mut gradients = self.inputs.clone().map(|x| vec![0.0; x.len()]);
        for (which, gradient) in gradients.iter_mut().enumerate() {
            if which == 5 && !self.with_bias {
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
