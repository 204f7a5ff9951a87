//! Causal attention for language models, with memory: long-short (Zhu et al. 2021, section 3.4 and
//! appendix), and without landmarks that of Transformer-XL (Dai et al. 2019, section 3.3).

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, assert_shape};

use super::heads::{check_heads, merge, split};
use super::recent::Recent;
use crate::error::{ConfigError, check_dropout, refuse_too_large, refuse_zero};
use crate::ops::fused::{Fused, HeadsLinear, LinearLayer, linear_layer};
use crate::ops::layers::{layer_norm, linear, linear_plus};
use crate::ops::{self, Attend, AttentionDropout, LandmarksSeen, Layout, Visibility, Window};
use crate::seed::hash_dropout;

/// Base of the sinusoids' wavelengths, as in Transformer-XL.
const BASE: f64 = 10_000.0;

/// Configuration of [`CausalAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct CausalAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Window `w` in tokens: a query sees itself and the `w − 1` tokens before it. 0: all tokens before
    /// it, the whole memory's too.
    #[config(default = 512)]
    pub window: usize,
    /// Chunk `c` in tokens; each finished one is projected to its landmarks.
    #[config(default = 16)]
    pub chunk: usize,
    /// Landmarks of a chunk, per head. 0: none, and no LayerNorms, as in Transformer-XL.
    #[config(default = 1)]
    pub rank: usize,
    /// Whether queries, keys, values and `W_o` have a bias.
    #[config(default = false)]
    pub bias: bool,
    /// The largest distance of a key that positions tell apart; 0 for no bound.
    #[config(default = 0)]
    pub clamp: usize,
    /// The largest number of landmarks after one that positions tell apart; 0 for no bound.
    #[config(default = 0)]
    pub landmark_clamp: usize,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
}

impl CausalAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_too_large([
            ("d_model", self.d_model),
            ("window", self.window),
            ("chunk", self.chunk),
            ("rank", self.rank),
        ])?;
        check_heads(self.d_model, self.heads)?;
        if !self.d_model.is_multiple_of(2) {
            let problem = format!(
                "must be even for sines and cosines, {} is not",
                self.d_model
            );
            return Err(ConfigError::new("d_model", problem));
        }
        refuse_zero([("chunk", self.chunk)])?;
        if self.rank > 0 {
            refuse_zero([("window", self.window)])?;
        }
        check_dropout("attention_dropout", self.attention_dropout)
    }

    /// Builds the module with the release's initial distributions: N(0, 0.02) for weights, zeros for
    /// biases, LayerNorms at one.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> CausalAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let [d_model, heads] = [self.d_model, self.heads];
        let linear = |out, bias| normal_linear(d_model, out, bias, device);
        let norm = || LayerNormConfig::new(d_model).init(device);
        let d = d_model / heads;
        CausalAttention {
            query: linear(d_model, self.bias),
            key: linear(d_model, self.bias),
            value: linear(d_model, self.bias),
            output: linear(d_model, self.bias),
            relative: linear(d_model, false),
            landmarks: (self.rank > 0).then(|| CausalLandmarks {
                projection: linear(heads * self.rank, true),
                window_norm: norm(),
                norm: norm(),
                relative: linear(d_model, true),
            }),
            content_bias: Initializer::Zeros.init([1, heads, 1, 1, d], device),
            position_bias: Initializer::Zeros.init([1, heads, 1, d], device),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads,
            window: self.window,
            chunk: self.chunk,
            rank: self.rank,
            clamp: self.clamp,
            landmark_clamp: self.landmark_clamp,
        }
    }
}

/// A linear layer with weights N(0, 0.02) and a bias of zeros, as the release's language models begin
/// with.
pub(crate) fn normal_linear(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs)
        .with_bias(bias)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        })
        .init(device);
    linear.bias = bias.then(|| Initializer::Zeros.init([outputs], device));
    linear
}

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

/// Sinusoids of a segment's distances, which all layers share.
#[derive(Clone, Debug)]
pub struct Distances {
    /// `[1, w, D]`: of keys at distances 0, 1, …, as far as queries see.
    pub window: Tensor<3>,
    /// `[1, T, D]`: of landmarks with 0, 1, … after them; none where no query sees one.
    pub landmarks: Option<Tensor<3>>,
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

    /// `u` as it is added to queries whose scores are still to be scaled, `[1, 1, D]`.
    fn content(&self) -> Tensor<3> {
        let content = self.content_bias.val().reshape([1, 1, self.d_model()]);
        content / self.scale()
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

    /// The terms of scores besides queries · keys, with `u` added to all queries: of the window by
    /// offset `(q + u)·R + (v − u)·R`, of landmarks by offset `(q + u)·R' − u·R'`, and by landmark
    /// `−u·k̄`.
    fn terms(&self, distances: &Distances, landmarks: Option<&(Tensor<4>, Tensor<4>)>) -> Terms {
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
    fn landmark_bias(&self, key: &Tensor<4>) -> Tensor<3> {
        let [_, h, _, _, d] = self.content_bias.dims();
        product(self.content_bias.val().reshape([1, h, 1, d]).neg(), key)
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

    /// What decoding keeps of a memory `[b, L, D]` and of a segment's first rows `[b, n, D]`; the
    /// distances are those of whole segments.
    pub(crate) fn state(
        &self,
        memory: Tensor<3>,
        rows: Option<Tensor<3>>,
        distances: &Distances,
    ) -> CausalState {
        let length = rows.as_ref().map_or(0, |rows| rows.dims()[1]);
        let all = match &rows {
            None => memory.clone(),
            Some(rows) => Tensor::cat(vec![memory.clone(), rows.clone()], 1),
        };
        let most = distances.window.dims()[1];
        let near = last_rows(&all, (most - 1).min(all.dims()[1]));
        let near = near.map(|rows| self.windowed(&rows));
        let mut state = CausalState {
            window: Recent::new(most, self.heads, near, &all),
            landmarks: None,
            open: Vec::new(),
            content: self.content().repeat_dim(0, all.dims()[0]),
            whole: self.terms(distances, None),
            terms: None,
        };
        let Some(landmarks) = &self.landmarks else {
            return state;
        };
        let open = length % self.chunk;
        if memory.dims()[1] > 0 {
            state.see(self.seen(landmarks, self.landmarks_of_memory(landmarks, memory)));
        }
        if let Some(rows) = rows.as_ref().filter(|_| length > open) {
            let finished = rows.clone().narrow(1, 0, length - open);
            state.see(self.seen(landmarks, self.landmarks_of(landmarks, finished)));
        }
        state
            .open
            .extend(rows.and_then(|rows| last_rows(&rows, open)));
        state
    }

    /// Landmarks `[b, T, D]` as queries meet them, `[b, h, T, d]`.
    fn seen(&self, of: &CausalLandmarks, own: [Tensor<3>; 2]) -> [Tensor<4>; 2] {
        own.map(|rows| self.split(layer_norm(rows, &of.norm)))
    }

    /// What the heads read for one more row of each text, `[b, 1, D]`.
    pub(crate) fn step(&self, hidden: Tensor<3>, state: &mut CausalState) -> Tensor<3> {
        let [key, value] = state.window.with(self.windowed(&hidden));
        let rows = key.dims()[2];
        let query = linear_plus(state.content.clone(), hidden.clone(), &self.query);
        let terms = state.terms(self);
        let width = state.window.most();
        let attended = ops::attend(Attend {
            query: self.split(query),
            key,
            value,
            landmarks: state.landmarks.clone().map(|[key, value]| (key, value)),
            landmark_bias: terms.landmark_bias,
            bias: Some(terms.bias),
            relative_keys: Some(terms.relative_keys),
            layout: Layout::Full,
            visibility: Visibility {
                window: Window::Causal { width },
                memory: rows - 1,
                landmarks: LandmarksSeen::All,
            },
            scale: self.scale(),
            dropout: AttentionDropout::OFF,
        });
        if let Some(landmarks) = &self.landmarks {
            state.open.push(hidden);
            if state.open_rows() == self.chunk {
                let rows = Tensor::cat(std::mem::take(&mut state.open), 1);
                state.see(self.seen(landmarks, self.landmarks_of(landmarks, rows)));
            }
        }
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

/// What one attention keeps of a text between two tokens of it.
#[derive(Clone, Debug)]
pub struct CausalState {
    /// Keys and values of the last tokens.
    window: Recent,
    /// Keys and values of the landmarks that the next token sees, `[b, h, T, d]`.
    landmarks: Option<[Tensor<4>; 2]>,
    /// Rows of the chunk that is not finished, in pieces `[b, n, D]`.
    open: Vec<Tensor<3>>,
    /// [`CausalAttention::content`] of each text, `[b, 1, D]`.
    content: Tensor<3>,
    /// Terms of scores for a whole segment.
    whole: Terms,
    /// Those for the landmarks of now.
    terms: Option<Terms>,
}

impl CausalState {
    /// Takes in the landmarks of a finished chunk.
    fn see(&mut self, own: [Tensor<4>; 2]) {
        self.landmarks = Some(match self.landmarks.take() {
            None => own,
            Some(before) => std::array::from_fn(|side| {
                Tensor::cat(vec![before[side].clone(), own[side].clone()], 2)
            }),
        });
        self.terms = None;
    }

    fn open_rows(&self) -> usize {
        self.open.iter().map(|rows| rows.dims()[1]).sum()
    }

    fn terms(&mut self, attention: &CausalAttention) -> Terms {
        if let Some(terms) = &self.terms {
            return terms.clone();
        }
        let landmarks = self.landmarks.as_ref().map(|[key, _]| key);
        let entries = self.window.most() + landmarks.map_or(0, |key| key.dims()[2]);
        let terms = Terms {
            landmark_bias: landmarks.map(|key| attention.landmark_bias(key)),
            // In memory of their own: kernels would copy a part of the whole for every token.
            bias: self.whole.bias.clone().narrow(1, 0, entries) * 1.0,
            relative_keys: self.whole.relative_keys.clone().narrow(1, 0, entries) * 1.0,
        };
        self.terms.insert(terms).clone()
    }
}

/// Products of rows: `[1, h, 1, d]` and `[b, h, n, d]` → `[b, h, n]`.
fn product(x: Tensor<4>, y: &Tensor<4>) -> Tensor<3> {
    let [b, h, n, _] = y.dims();
    (x * y.clone()).sum_dim(3).reshape([b, h, n])
}

/// See [`CausalAttention::terms`].
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// `[b, h, T]`
    pub landmark_bias: Option<Tensor<3>>,
    /// `[h, w + T]`
    pub bias: Tensor<2>,
    /// `[h, w + T, d]`
    pub relative_keys: Tensor<3>,
}

fn own_device(linear: &Linear) -> Device {
    linear.weight.val().device()
}

/// The last rows of `[b, n, D]`, none for 0.
fn last_rows(x: &Tensor<3>, rows: usize) -> Option<Tensor<3>> {
    let [_, n, _] = x.dims();
    (rows > 0).then(|| x.clone().narrow(1, n - rows, rows))
}
