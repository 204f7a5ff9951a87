//! The two operations by their definition: every query against every key, one number after another.
//! Generic over the element type, so that it also says what error is normal in float32.

use transformer_ls_kernels::{Dropout, Grid, LandmarksSeen, Visibility, Window, dropout};
use transformer_ls_kernels_cpu::Real;

use super::{Batch, Tensor};

/// Rounds to `T` after every operation.
fn round<T: Real>(x: f64) -> f64 {
    T::from_f64(x).to_f64()
}

fn dot<T: Real>(a: &[f64], b: &[f64]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| round::<T>(a * b));
    products.fold(0.0, |sum, x| round::<T>(sum + x))
}

fn add_row<T: Real>(to: &mut Tensor, at: [usize; 3], factor: f64, row: &[f64]) {
    for (k, x) in row.iter().enumerate() {
        let to = to.at_mut([at[0], at[1], at[2], k]);
        *to = round::<T>(*to + round::<T>(factor * x));
    }
}

/// Softmax of scores, and their log-sum-exp; nothing for no score.
fn softmax<T: Real>(scores: &[f64]) -> (Vec<f64>, f64) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores
        .iter()
        .map(|s| round::<T>(round::<T>(s - max).exp()))
        .collect();
    let sum = exps.iter().fold(0.0, |sum, x| round::<T>(sum + x));
    let log_sum = if scores.is_empty() {
        0.0
    } else {
        round::<T>(max + round::<T>(sum.ln()))
    };
    (exps.iter().map(|e| round::<T>(e / sum)).collect(), log_sum)
}

/// A probability from the log-sum-exp, as backward passes have it: its rounding error is that of the
/// log-sum-exp, which grows with the scores.
fn again<T: Real>(score: f64, log_sum: f64) -> f64 {
    round::<T>(round::<T>(score - log_sum).exp())
}

pub struct Project {
    pub scores: Tensor,
    pub key: Tensor,
    pub value: Tensor,
    pub batch: Batch,
}

pub struct Projected {
    pub output: Tensor,
    pub d_scores: Tensor,
    pub d_key: Tensor,
    pub d_value: Tensor,
}

impl Projected {
    /// Every result by name.
    pub fn parts(&self) -> Vec<(&'static str, &Tensor)> {
        vec![
            ("output", &self.output),
            ("d_scores", &self.d_scores),
            ("d_key", &self.d_key),
            ("d_value", &self.d_value),
        ]
    }
}

impl Project {
    pub fn output_shape(&self) -> [usize; 4] {
        let [b, h, r, n] = self.scores.shape;
        [self.batch.list(b, n).len(), h, r, 2 * self.key.shape[3] + 1]
    }

    /// Output, and gradients for this gradient of the output.
    pub fn run<T: Real>(&self, d_output: &Tensor) -> Projected {
        let [b, h, r, n] = self.scores.shape;
        let d = self.key.shape[3];
        let mut output = Tensor::zeros(self.output_shape());
        let mut d_scores = Tensor::zeros(self.scores.shape);
        let mut d_key = Tensor::zeros(self.key.shape);
        let mut d_value = Tensor::zeros(self.key.shape);
        for (document, (row, tokens)) in self.batch.list(b, n).into_iter().enumerate() {
            let real: Vec<usize> = tokens.iter().filter(|t| t.1).map(|t| t.0).collect();
            if real.is_empty() {
                continue;
            }
            for head in 0..h {
                for j in 0..r {
                    let at = [document, head, j];
                    let scores: Vec<f64> = real
                        .iter()
                        .map(|&t| self.scores.at([row, head, j, t]))
                        .collect();
                    let (p, log_sum) = softmax::<T>(&scores);
                    let mut landmark = Tensor::zeros([1, 1, 1, 2 * d]);
                    for (&t, &p) in real.iter().zip(&p) {
                        let both = [self.key.row([row, head, t]), self.value.row([row, head, t])];
                        add_row::<T>(&mut landmark, [0, 0, 0], p, &both.concat());
                    }
                    output.add_to_row(at, 1.0, &landmark.data);
                    *output.at_mut([document, head, j, 2 * d]) = log_sum;
                    let gradient = d_output.row(at);
                    let delta = dot::<T>(&gradient[..2 * d], &landmark.data);
                    for (&t, score) in real.iter().zip(scores) {
                        let p = again::<T>(score, log_sum);
                        let both = [self.key.row([row, head, t]), self.value.row([row, head, t])];
                        let d_p = dot::<T>(&gradient[..2 * d], &both.concat());
                        let difference = round::<T>(round::<T>(d_p - delta) + gradient[2 * d]);
                        *d_scores.at_mut([row, head, j, t]) = round::<T>(p * difference);
                        add_row::<T>(&mut d_key, [row, head, t], p, &gradient[..d]);
                        add_row::<T>(&mut d_value, [row, head, t], p, &gradient[d..2 * d]);
                    }
                }
            }
        }
        Projected {
            output,
            d_scores,
            d_key,
            d_value,
        }
    }
}

pub struct Attend {
    pub query: Tensor,
    pub key: Tensor,
    pub value: Tensor,
    pub landmark_key: Tensor,
    pub landmark_value: Tensor,
    /// `[1, documents, h, r]`
    pub landmark_bias: Option<Tensor>,
    /// `[1, 1, h, entries]`
    pub bias: Option<Tensor>,
    /// `[1, h, entries, d]`
    pub relative_keys: Option<Tensor>,
    pub batch: Batch,
    pub visibility: Visibility,
    pub scale: f64,
    pub dropout: Dropout,
}

pub struct Attended {
    pub output: Tensor,
    /// `[b, h, n, 1]`
    pub log_sum_exp: Tensor,
    pub d_query: Tensor,
    pub d_key: Tensor,
    pub d_value: Tensor,
    pub d_landmark_key: Tensor,
    pub d_landmark_value: Tensor,
    pub d_landmark_bias: Option<Tensor>,
    pub d_bias: Option<Tensor>,
    pub d_relative_keys: Option<Tensor>,
}

impl Attended {
    /// Every result by name.
    pub fn parts(&self) -> Vec<(&'static str, &Tensor)> {
        let mut parts = vec![
            ("output", &self.output),
            ("log_sum_exp", &self.log_sum_exp),
            ("d_query", &self.d_query),
            ("d_key", &self.d_key),
            ("d_value", &self.d_value),
            ("d_landmark_key", &self.d_landmark_key),
            ("d_landmark_value", &self.d_landmark_value),
        ];
        let bias = self.d_landmark_bias.as_ref();
        parts.extend(bias.map(|bias| ("d_landmark_bias", bias)));
        parts.extend(self.d_bias.as_ref().map(|bias| ("d_bias", bias)));
        let keys = self.d_relative_keys.as_ref();
        parts.extend(keys.map(|keys| ("d_relative_keys", keys)));
        parts
    }
}

/// One thing that a query sees.
struct Seen {
    /// A landmark, or a token's place in its row.
    landmark: Option<usize>,
    token: usize,
    column: usize,
    /// The entry of tables by offset, if they have one.
    entry: Option<usize>,
}

/// Column and offset of a key at `j` for a query at `p`, if it sees it.
fn pair(window: Window, p: isize, j: isize) -> Option<[isize; 2]> {
    let (first, end, reach) = match window {
        Window::Off => return None,
        Window::All => return Some([j, 0]),
        Window::Segments { width } => {
            let (w, e) = (width as isize, (width as isize / 2).max(1));
            (p / w * w - e, (p / w + 1) * w + e, w - 1 + e)
        }
        Window::Causal { width } => (p - width as isize + 1, p + 1, 0),
        Window::Grid(Grid {
            columns,
            tile,
            halo,
        }) => {
            let [c, t, e] = [columns, tile, halo].map(|x| x as isize);
            let along = |p: isize, j: isize| {
                let (first, end) = (p / t * t - e, (p / t + 1) * t + e);
                (first <= j && j < end).then_some([j - first, p - j + t - 1 + e])
            };
            let ([row, down], [column, right]) = (along(p / c, j / c)?, along(p % c, j % c)?);
            let (span, side) = (t + 2 * e, 2 * (t - 1 + e) + 1);
            return Some([row * span + column, down * side + right]);
        }
    };
    (first <= j && j < end).then_some([j - first, p - j + reach])
}

impl Attend {
    fn sees(&self, query: usize, tokens: &[(usize, bool)]) -> Vec<Seen> {
        let r = self.landmark_key.shape[2];
        let count = match self.visibility.landmarks {
            LandmarksSeen::All => r,
            LandmarksSeen::Chunks {
                before,
                chunk,
                rows,
            } => r.min(before + query / chunk * rows),
        };
        // Entries of the tables behind those of the window are the landmarks', the most recent's first.
        let entries = match (&self.bias, &self.relative_keys) {
            (Some(bias), _) => bias.shape[3],
            (None, Some(keys)) => keys.shape[2],
            (None, None) => 0,
        };
        let offsets = self.visibility.window.offsets();
        let mut seen: Vec<Seen> = (0..count)
            .map(|t| Seen {
                landmark: Some(t),
                token: 0,
                column: t,
                entry: (entries > offsets).then_some(offsets + count - 1 - t),
            })
            .collect();
        let position = (query + self.visibility.memory) as isize;
        for (j, &(token, real)) in tokens.iter().enumerate() {
            if let Some([column, offset]) = pair(self.visibility.window, position, j as isize)
                && real
            {
                seen.push(Seen {
                    landmark: None,
                    token,
                    column: r + column as usize,
                    entry: (offsets > 0).then_some(offset as usize),
                });
            }
        }
        seen
    }

    /// Output, and gradients for this gradient of the output.
    pub fn run<T: Real>(&self, d_output: &Tensor) -> Attended {
        let [b, h, n, _] = self.query.shape;
        let m = self.key.shape[2];
        let zeros = || Tensor::zeros(self.query.shape);
        let key_zeros = || Tensor::zeros(self.key.shape);
        let landmark_zeros = || Tensor::zeros(self.landmark_key.shape);
        let mut result = Attended {
            output: zeros(),
            log_sum_exp: Tensor::zeros([b, h, n, 1]),
            d_query: zeros(),
            d_key: key_zeros(),
            d_value: key_zeros(),
            d_landmark_key: landmark_zeros(),
            d_landmark_value: landmark_zeros(),
            d_landmark_bias: (self.landmark_bias.as_ref()).map(|bias| Tensor::zeros(bias.shape)),
            d_bias: self.bias.as_ref().map(|bias| Tensor::zeros(bias.shape)),
            d_relative_keys: (self.relative_keys.as_ref()).map(|keys| Tensor::zeros(keys.shape)),
        };
        let keys = self.batch.list(b, m);
        for (document, (row, tokens)) in self.batch.list(b, n).into_iter().enumerate() {
            for head in 0..h {
                for (i, &(place, real)) in tokens.iter().enumerate() {
                    if real {
                        let at = [document, row, head];
                        let keys = &keys[document].1;
                        self.query::<T>(at, i, place, keys, d_output, &mut result);
                    }
                }
            }
        }
        result
    }

    fn query<T: Real>(
        &self,
        [document, row, head]: [usize; 3],
        i: usize,
        place: usize,
        tokens: &[(usize, bool)],
        d_output: &Tensor,
        result: &mut Attended,
    ) {
        let seen = self.sees(i, tokens);
        let at = [row, head, place];
        let query = self.query.row(at);
        let key = |seen: &Seen| match seen.landmark {
            Some(t) => self.landmark_key.row([document, head, t]),
            None => self.key.row([row, head, seen.token]),
        };
        let value = |seen: &Seen| match seen.landmark {
            Some(t) => self.landmark_value.row([document, head, t]),
            None => self.value.row([row, head, seen.token]),
        };
        let score = |seen: &Seen| {
            let mut product = dot::<T>(query, key(seen));
            if let (Some(keys), Some(entry)) = (&self.relative_keys, seen.entry) {
                let own = dot::<T>(query, keys.row([0, head, entry]));
                product = round::<T>(product + own);
            }
            let mut score = round::<T>(product * self.scale);
            if let (Some(bias), Some(entry)) = (&self.bias, seen.entry) {
                score = round::<T>(score + bias.at([0, 0, head, entry]));
            }
            if let (Some(bias), Some(t)) = (&self.landmark_bias, seen.landmark) {
                score = round::<T>(score + bias.at([0, document, head, t]));
            }
            score
        };
        let factor = |seen: &Seen| match self.dropout {
            d if d.probability == 0.0 => 1.0,
            d => {
                let place = [document, head, i, seen.column].map(|x| x as u32);
                let hash = dropout::hash(d.seed, place[0], place[1], place[2], place[3]);
                if hash >= dropout::threshold(d.probability) {
                    d.scale()
                } else {
                    0.0
                }
            }
        };
        let scores: Vec<f64> = seen.iter().map(score).collect();
        let (p, log_sum) = softmax::<T>(&scores);
        *result.log_sum_exp.at_mut([row, head, place, 0]) = log_sum;
        let gradient = d_output.row(at);
        for (seen, &p) in seen.iter().zip(&p) {
            let kept = round::<T>(p * factor(seen));
            add_row::<T>(&mut result.output, at, kept, value(seen));
        }
        let delta = dot::<T>(gradient, result.output.row(at));
        for (seen, score) in seen.iter().zip(scores) {
            let p = again::<T>(score, log_sum);
            let z = factor(seen);
            let d_p = round::<T>(z * dot::<T>(gradient, value(seen)));
            let d_score = round::<T>(p * round::<T>(d_p - delta));
            let scaled = round::<T>(d_score * self.scale);
            let kept = round::<T>(p * z);
            add_row::<T>(&mut result.d_query, at, scaled, key(seen));
            if let (Some(d_bias), Some(entry)) = (&mut result.d_bias, seen.entry) {
                let to = d_bias.at_mut([0, 0, head, entry]);
                *to = round::<T>(*to + d_score);
            }
            if let (Some(keys), Some(entry)) = (&self.relative_keys, seen.entry) {
                let of_offset = [0, head, entry];
                add_row::<T>(&mut result.d_query, at, scaled, keys.row(of_offset));
                let d_keys = result.d_relative_keys.as_mut().expect("as given");
                add_row::<T>(d_keys, of_offset, scaled, query);
            }
            match seen.landmark {
                Some(t) => {
                    let at = [document, head, t];
                    add_row::<T>(&mut result.d_landmark_key, at, scaled, query);
                    add_row::<T>(&mut result.d_landmark_value, at, kept, gradient);
                    if let Some(d_bias) = &mut result.d_landmark_bias {
                        let to = d_bias.at_mut([0, document, head, t]);
                        *to = round::<T>(*to + d_score);
                    }
                }
                None => {
                    let at = [row, head, seen.token];
                    add_row::<T>(&mut result.d_key, at, scaled, query);
                    add_row::<T>(&mut result.d_value, at, kept, gradient);
                }
            }
        }
    }
}
