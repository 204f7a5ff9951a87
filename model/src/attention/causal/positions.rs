//! Where keys and landmarks lie relative to a query: sinusoids of distances, and the terms of scores made
//! of them.

use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::CausalAttention;
use crate::ops::layers::linear;

/// Base of the sinusoids' wavelengths, as in Transformer-XL.
const BASE: f64 = 10_000.0;

/// Sinusoids of a segment's distances, which all layers share.
#[derive(Clone, Debug)]
pub struct Distances {
    /// `[1, w, D]`: of keys at distances 0, 1, …, as far as queries see.
    pub window: Tensor<3>,
    /// `[1, T, D]`: of landmarks with 0, 1, … after them; none where no query sees one.
    pub landmarks: Option<Tensor<3>>,
}

/// See [`CausalAttention::terms`].
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// `[b, h, T]`
    pub landmark_bias: Option<Tensor<3>>,
    /// `[h, w + T]`
    pub bias: Tensor<2>,
    /// `[h, w + T, d]`
    pub relative_keys: Tensor<3>,
}

impl CausalAttention {
    /// The sinusoids for a segment of so many tokens behind a memory of so many rows. The distances of
    /// keys and of landmarks are alike for all modules of one configuration.
    pub fn distances(&self, tokens: usize, memory: usize, device: &Device) -> Distances {
        let landmarks = (memory / self.chunk + self.chunks_seen(tokens)) * self.rank;
        let rows = |count, clamp| sinusoids(count, clamp, self.d_model(), device);
        let window = match self.window {
            0 => memory + tokens,
            window => window,
        };
        Distances {
            window: rows(window, self.clamp),
            landmarks: (landmarks > 0).then(|| rows(landmarks, self.landmark_clamp)),
        }
    }

    /// `u` as it is added to queries whose scores are still to be scaled, `[1, 1, D]`.
    pub(super) fn content(&self) -> Tensor<3> {
        let content = self.content_bias.val().reshape([1, 1, self.d_model()]);
        content / self.scale()
    }

    /// The terms of scores besides queries · keys, with `u` added to all queries: of the window by
    /// offset `(q + u)·R + (v − u)·R`, of landmarks by offset `(q + u)·R' − u·R'`, and by landmark
    /// `−u·k̄`.
    pub(super) fn terms(
        &self,
        distances: &Distances,
        landmarks: Option<&(Tensor<4>, Tensor<4>)>,
    ) -> Terms {
        let [_, h, _, _, d] = self.content_bias.dims();
        let content = self.content_bias.val().reshape([1, h, 1, d]);
        let position = self.position_bias.val();
        let keys = |rows: &Tensor<3>, weights: &Linear| {
            // [1, h, entries, d]
            self.split(linear(rows.clone(), weights))
        };
        let window = keys(&distances.window, &self.relative);
        let mut bias = vec![product(position - content, &window)];
        let mut relative = vec![window];
        if let (Some(rows), Some(landmarks)) = (&distances.landmarks, &self.landmarks) {
            let own = keys(rows, &landmarks.relative);
            bias.push(self.landmark_bias(&own));
            relative.push(own);
        }
        Terms {
            landmark_bias: landmarks.map(|(key, _)| self.landmark_bias(key)),
            bias: Tensor::cat(bias, 2).squeeze_dim(0),
            relative_keys: Tensor::cat(relative, 2).squeeze_dim(0),
        }
    }

    /// `−u·k̄`, `[b, h, T]`, of landmark keys `[b, h, T, d]`.
    pub(super) fn landmark_bias(&self, key: &Tensor<4>) -> Tensor<3> {
        let [_, h, _, _, d] = self.content_bias.dims();
        product(self.content_bias.val().reshape([1, h, 1, d]).neg(), key)
    }
}

/// `[sin(x·f) | cos(x·f)]`, `f_i = 10000^(−2i/D)`, for `x` = min(0, clamp), min(1, clamp), …;
/// a clamp of 0 is none. `[1, count, D]`
fn sinusoids(count: usize, clamp: usize, width: usize, device: &Device) -> Tensor<3> {
    let frequencies: Vec<f64> = (0..width / 2)
        .map(|i| BASE.powf(-2.0 * i as f64 / width as f64))
        .collect();
    let mut values = Vec::with_capacity(count * width);
    for x in 0..count {
        let x = if clamp > 0 { x.min(clamp) } else { x } as f64;
        values.extend(frequencies.iter().map(|f| (x * f).sin() as f32));
        values.extend(frequencies.iter().map(|f| (x * f).cos() as f32));
    }
    Tensor::from_data(TensorData::new(values, [1, count, width]), device)
}

/// Products of rows: `[1, h, 1, d]` and `[b, h, n, d]` → `[b, h, n]`.
fn product(x: Tensor<4>, y: &Tensor<4>) -> Tensor<3> {
    let [b, h, n, _] = y.dims();
    (x * y.clone()).sum_dim(3).reshape([b, h, n])
}
