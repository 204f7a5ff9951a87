//! Causal attention for language models, with memory: long-short (Zhu et al. 2021, section 3.4 and
//! appendix), and without landmarks that of Transformer-XL (Dai et al. 2019, section 3.3).

mod config;
mod decoding;
mod positions;
mod recent;

use burn::module::{Module, Param};
use burn::nn::{Dropout, LayerNorm, Linear};
use burn::tensor::{Device, Tensor, assert_shape};

use super::heads::{merge, split};
use crate::ops::fused::{Fused, HeadsLinear, LinearLayer, linear_layer};
use crate::ops::layers::{layer_norm, linear};
use crate::ops::{self, Attend, AttentionDropout, LandmarksSeen, Layout, Visibility, Window};
use crate::seed::hash_dropout;

pub use config::CausalAttentionConfig;
pub(crate) use config::{normal, normal_linear, normal_norm};
pub use decoding::CausalState;
pub use positions::Distances;

/// Causal long-short attention of a segment, with a memory of what came before it.
///
/// ```text
/// Q = split(H W_q) / √d,   K, V = split(LN_win([last rows of N ; H] W_k, W_v))
/// window score   = (q + u)·k_j + (q + v)·(W_r R_{p−j})
/// landmark score = q·k̄_t + q·(W_rc R'_δ),   δ = landmarks that the query sees after t
/// C = softmax([landmarks | window]) [V̄ | V]
/// ```
///
/// A query sees itself and the `w − 1` tokens before it, and the landmarks of every chunk that ended
/// before its own began. Landmarks of the segment are compressed from its keys and values; those of the
/// memory are made of its rows, compressed head slice by head slice, as in the release
/// (`autoregressive/model_lib/transformer_ls.py`).
///
/// Without landmarks this is the attention of Transformer-XL: no LayerNorm of keys and values, and
/// softmax over the window alone. Its `u` and `v` are the paper's, divided by √d. Built by
/// [`CausalAttentionConfig`].
#[derive(Module, Debug)]
pub struct CausalAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// `W_o`
    pub output: Linear,
    /// `W_r`: sinusoids of a key's distance → what queries meet there.
    pub relative: Linear,
    /// What landmarks need, where there are some.
    pub landmarks: Option<CausalLandmarks>,
    /// `u`, `[1, h, 1, 1, d]`: added to queries that meet keys of the window.
    pub content_bias: Param<Tensor<5>>,
    /// `v`, `[1, h, 1, d]`: added to queries that meet distances in the window.
    pub position_bias: Param<Tensor<4>>,
    /// Probability of attention dropout, and whether this module takes part in training.
    pub dropout: Dropout,
    pub(crate) heads: usize,
    pub(crate) window: usize,
    pub(crate) chunk: usize,
    pub(crate) rank: usize,
    clamp: usize,
    landmark_clamp: usize,
}

/// What makes [`CausalAttention`] long-short: how landmarks come about, and how they and the window's
/// keys and values are made alike.
#[derive(Module, Debug)]
pub struct CausalLandmarks {
    /// `W_p`: width → heads · rank, features grouped head by head.
    pub projection: Linear,
    /// `LN_win`, over all heads' features of window keys and values.
    pub window_norm: LayerNorm,
    /// `LN_proj`, over all heads' features of landmark keys and values.
    pub norm: LayerNorm,
    /// `W_rc`: sinusoids of the number of landmarks after one → what queries meet there.
    pub relative: Linear,
}

/// What attention makes of a segment's rows.
struct OwnRows {
    /// `[b, M, D]`, with `u` added.
    query: Tensor<3>,
    /// `[b, M, D]`
    key: Tensor<3>,
    /// `[b, M, D]`
    value: Tensor<3>,
    /// Where queries see landmarks of the segment.
    compressible: Option<Compressible>,
    /// The rows themselves, `[b, M, D]`.
    hidden: Tensor<3>,
}

/// Rows to be compressed, and the scores that weigh them.
struct Compressible {
    /// What `W_p` gives, `[b, n, h·ρ]`.
    scores: Tensor<3>,
    /// `[b, n, D]`
    key: Tensor<3>,
    /// `[b, n, D]`
    value: Tensor<3>,
}

impl CausalAttention {
    /// Width `D`.
    pub fn d_model(&self) -> usize {
        self.query.weight.dims()[0]
    }

    /// Chunks of a segment of `tokens` tokens whose landmarks any of its queries sees: all that end
    /// before another one begins.
    fn chunks_seen(&self, tokens: usize) -> usize {
        tokens.saturating_sub(1) / self.chunk
    }

    /// What the heads read for each token of a segment.
    ///
    /// # Shapes
    ///
    /// - hidden and output: `[b, M, D]`, any `M ≥ 1`
    /// - memory: `[b, L, D]`, rows in front of the segment, `L` may be 0; whole chunks where there are
    ///   landmarks
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit the module or each other.
    pub fn contexts(
        &self,
        hidden: Tensor<3>,
        memory: Tensor<3>,
        distances: &Distances,
        dropout_seed: Option<u64>,
    ) -> Tensor<3> {
        self.contexts_through(hidden, memory, distances, dropout_seed)
            .0
    }

    /// [`contexts`](Self::contexts), and the inputs for their next reader. Where one kernel reads them, its
    /// backward pass adds that reader's gradient.
    pub(crate) fn contexts_through(
        &self,
        hidden: Tensor<3>,
        memory: Tensor<3>,
        distances: &Distances,
        dropout_seed: Option<u64>,
    ) -> (Tensor<3>, Tensor<3>) {
        let [b, tokens, d_model] = hidden.dims();
        let [_, rows, _] = memory.dims();
        assert_shape!(hidden, [b, tokens, self.d_model()]);
        assert_shape!(memory, [b, rows, d_model]);
        self.check_memory(rows);
        let window = distances.window.dims()[1];
        let before = (window - 1).min(rows);
        let own = self.read(hidden);
        let near = last_rows(&memory, before);
        let windowed = |own: Tensor<3>, weights: &Linear| {
            let all = match &near {
                None => own,
                Some(near) => Tensor::cat(vec![linear(near.clone(), weights), own], 1),
            };
            self.split(self.of_window(all))
        };
        let (key, value) = (
            windowed(own.key, &self.key),
            windowed(own.value, &self.value),
        );
        let landmarks = self.landmarks(memory, own.compressible, tokens);
        let query = self.split(own.query);
        let terms = self.terms(distances, landmarks.as_ref());
        let visibility = Visibility {
            window: Window::Causal { width: window },
            memory: before,
            landmarks: match landmarks {
                None => LandmarksSeen::All,
                Some(_) => LandmarksSeen::Chunks {
                    before: rows / self.chunk * self.rank,
                    chunk: self.chunk,
                    rows: self.rank,
                },
            },
        };
        let attended = ops::attend(Attend {
            query,
            key,
            value,
            landmarks,
            landmark_bias: terms.landmark_bias,
            bias: Some(terms.bias),
            relative_keys: Some(terms.relative_keys),
            layout: Layout::Full,
            visibility,
            scale: self.scale(),
            dropout: hash_dropout(&self.dropout, &own_device(&self.query), dropout_seed),
        });
        (merge(attended.output), own.hidden)
    }

    /// A segment's queries, keys and values, and what its landmarks are made of.
    fn read(&self, hidden: Tensor<3>) -> OwnRows {
        let [_, n, _] = hidden.dims();
        let landmarks = self.landmarks.as_ref().filter(|_| self.chunks_seen(n) > 0);
        if let (Some(landmarks), Some(fused)) = (landmarks, Fused::of_many(&hidden)) {
            return self.read_fused(hidden, landmarks, fused);
        }
        let linear = |weights| linear(hidden.clone(), weights);
        let (key, value) = (linear(&self.key), linear(&self.value));
        OwnRows {
            query: linear(&self.query) + self.content(),
            compressible: landmarks.map(|landmarks| Compressible {
                scores: linear(&landmarks.projection),
                key: key.clone(),
                value: value.clone(),
            }),
            key,
            value,
            hidden,
        }
    }

    /// [`read`](Self::read) in one pass.
    fn read_fused(&self, hidden: Tensor<3>, landmarks: &CausalLandmarks, fused: Fused) -> OwnRows {
        let [b, n, d_model] = hidden.dims();
        let content = self.content().reshape([d_model]);
        let bias = match &self.query.bias {
            None => content,
            Some(bias) => bias.val() + content,
        };
        let layers = HeadsLinear {
            query: LinearLayer {
                weight: self.query.weight.val().into_dispatch(),
                bias: bias.into_dispatch(),
            },
            key: linear_layer(&self.key),
            value: linear_layer(&self.value),
            projection: linear_layer(&landmarks.projection),
        };
        let heads = fused.heads_unnormed(hidden, layers, self.heads);
        let rows = |x| merge(Tensor::from_dispatch(x));
        let scores = Tensor::<4>::from_dispatch(heads.scores).permute([0, 3, 1, 2]);
        OwnRows {
            query: rows(heads.query),
            key: rows(heads.key),
            value: rows(heads.value),
            compressible: Some(Compressible {
                scores: scores.reshape([b, n, self.heads * self.rank]),
                key: rows(heads.projected_key),
                value: rows(heads.projected_value),
            }),
            hidden: Tensor::from_dispatch(heads.residual),
        }
    }

    /// What scores are multiplied by, `1/√d`.
    fn scale(&self) -> f64 {
        ((self.d_model() / self.heads) as f64).powf(-0.5)
    }

    /// # Panics
    ///
    /// Panics if a memory of so many rows is not made of whole chunks, and landmarks need it to be.
    pub(crate) fn check_memory(&self, rows: usize) {
        assert!(
            self.landmarks.is_none() || rows.is_multiple_of(self.chunk),
            "a memory of {rows} rows is not made of whole chunks of {}",
            self.chunk
        );
    }

    /// Keys or values `[b, n, D]` of tokens as the window has them.
    fn of_window(&self, rows: Tensor<3>) -> Tensor<3> {
        match &self.landmarks {
            None => rows,
            Some(landmarks) => layer_norm(rows, &landmarks.window_norm),
        }
    }

    /// Landmark keys and values, `[b, h, T, d]`: those of the memory's chunks, then those of the
    /// segment's that another chunk comes after.
    fn landmarks(
        &self,
        memory: Tensor<3>,
        own: Option<Compressible>,
        tokens: usize,
    ) -> Option<(Tensor<4>, Tensor<4>)> {
        let landmarks = self.landmarks.as_ref()?;
        let mut parts = Vec::new();
        if memory.dims()[1] > 0 {
            parts.push(self.landmarks_of_memory(landmarks, memory));
        }
        if let Some(own) = own {
            // Of all whole chunks: a last one's landmarks that nobody sees are left out afterwards, for
            // they are fewer rows to copy than its tokens.
            let seen = self.chunks_seen(tokens) * self.rank;
            let whole = tokens / self.chunk * self.chunk;
            let of_whole = |x: Tensor<3>| match whole == tokens {
                true => x,
                false => x.narrow(1, 0, whole),
            };
            let compressed = self.compress(Compressible {
                scores: of_whole(own.scores),
                key: of_whole(own.key),
                value: of_whole(own.value),
            });
            parts.push(compressed.map(|rows| rows.narrow(1, 0, seen)));
        }
        let join = |side: usize| {
            let rows = parts.iter().map(|part| part[side].clone()).collect();
            self.split(layer_norm(Tensor::cat(rows, 1), &landmarks.norm))
        };
        (!parts.is_empty()).then(|| (join(0), join(1)))
    }

    /// Keys and values of a memory's landmarks before `LN_proj`, `[b, L/c·ρ, D]`: its rows are
    /// compressed as they are, and then multiplied with the weights.
    fn landmarks_of_memory(&self, of: &CausalLandmarks, memory: Tensor<3>) -> [Tensor<3>; 2] {
        let [rows, _] = self.compress(Compressible {
            scores: linear(memory.clone(), &of.projection),
            key: memory.clone(),
            value: memory,
        });
        [&self.key, &self.value].map(|weights| linear(rows.clone(), weights))
    }

    /// Those of whole chunks of a segment, `[b, n/c·ρ, D]`.
    fn landmarks_of(&self, of: &CausalLandmarks, rows: Tensor<3>) -> [Tensor<3>; 2] {
        let linear = |weights| linear(rows.clone(), weights);
        self.compress(Compressible {
            scores: linear(&of.projection),
            key: linear(&self.key),
            value: linear(&self.value),
        })
    }

    /// Rows of whole chunks, compressed head slice by head slice: `[b, n/c·ρ, D]`, a chunk's landmarks one
    /// after another.
    fn compress(&self, rows: Compressible) -> [Tensor<3>; 2] {
        let [b, n, d_model] = rows.key.dims();
        let chunks = n / self.chunk;
        let by_chunk = |x: Tensor<3>| {
            let [_, _, features] = x.dims();
            self.split(x.reshape([b * chunks, self.chunk, features]))
        };
        let scores = by_chunk(rows.scores).swap_dims(2, 3);
        let compressed = ops::project(
            scores,
            by_chunk(rows.key),
            by_chunk(rows.value),
            Layout::Full,
        );
        let rows = |x: Tensor<4>| merge(x).reshape([b, chunks * self.rank, d_model]);
        [rows(compressed.key), rows(compressed.value)]
    }

    /// What the heads read for each token of a segment `[b, M, D]` in other rows `[b, L, D]`, all of
    /// which they see, by content alone: no position takes part, nor any bias of queries.
    pub(crate) fn by_content(&self, hidden: Tensor<3>, rows: Tensor<3>) -> Tensor<3> {
        let [key, value] = self.windowed(&rows).map(|x| self.split(x));
        let attended = ops::attend(Attend {
            query: self.split(linear(hidden, &self.query)),
            key,
            value,
            landmarks: None,
            landmark_bias: None,
            bias: None,
            relative_keys: None,
            layout: Layout::Full,
            visibility: Window::All.into(),
            scale: self.scale(),
            dropout: AttentionDropout::OFF,
        });
        merge(attended.output)
    }

    /// Keys and values of the window, `[b, n, D]`.
    fn windowed(&self, rows: &Tensor<3>) -> [Tensor<3>; 2] {
        [&self.key, &self.value].map(|weights| self.of_window(linear(rows.clone(), weights)))
    }

    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        split(x, self.heads)
    }
}

fn own_device(linear: &Linear) -> Device {
    linear.weight.val().device()
}

/// The last rows of `[b, n, D]`, none for 0.
fn last_rows(x: &Tensor<3>, rows: usize) -> Option<Tensor<3>> {
    let [_, n, _] = x.dims();
    (rows > 0).then(|| x.clone().narrow(1, n - rows, rows))
}
