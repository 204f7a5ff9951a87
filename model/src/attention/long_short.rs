//! Long-short attention (Zhu et al. 2021, arXiv 2107.02192): a sliding window joined with a dynamic
//! low-rank projection of the whole sequence, under one softmax, at a cost linear in the sequence.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::batch::BatchLayout;
use super::heads::{AttentionInput, Contexts, check_heads, merge, split};
use super::maps::{AttentionMaps, shares_of};
use super::rotary::check_rotary;
use super::rows::{Rows, read_by_class_row, read_outputs};
use crate::error::{ConfigError, check_dropout, refuse_too_large};
use crate::ops::fused::{Fused, HeadsLayers, HeadsLinear, linear_layer};
use crate::ops::layers::{layer_norm, layer_norm_through, linear, linear_through, norm_layer};
use crate::ops::{self, Attend, AttentionDropout, Projected, Window};
use crate::seed::hash_dropout;

/// Configuration of [`LongShortAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct LongShortAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Window (segment length) `w` in tokens; 0 leaves the window off.
    #[config(default = 8)]
    pub window: usize,
    /// Rank `r` of the projection: landmarks per head; 0 leaves the projection off.
    #[config(default = 32)]
    pub rank: usize,
    /// Odd length of a depthwise convolution over the values, added to the output.
    #[config(default = "None")]
    pub conv_kernel: Option<usize>,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding), landmarks included.
    #[config(default = false)]
    pub rotary: bool,
    /// A learned score per head for each distance inside the window, starting at zero.
    #[config(default = false)]
    pub offset_bias: bool,
}

impl LongShortAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |field, problem: String| Err(ConfigError::new(field, problem));
        refuse_too_large([
            ("d_model", self.d_model),
            ("rank", self.rank),
            ("window", self.window),
            ("conv_kernel", self.conv_kernel.unwrap_or(0)),
        ])?;
        check_heads(self.d_model, self.heads)?;
        if self.window == 0 && self.rank == 0 {
            let problem = "is 0 and so is the window: attention would see nothing".into();
            return fail("rank", problem);
        }
        if let Some(kernel) = self.conv_kernel
            && kernel.is_multiple_of(2)
        {
            return fail("conv_kernel", format!("must be odd, {kernel} is not"));
        }
        check_dropout("attention_dropout", self.attention_dropout)?;
        if self.rotary {
            check_rotary(self.d_model / self.heads)?;
        }
        if self.offset_bias && self.window == 0 {
            return fail("offset_bias", "needs a window, and the window is 0".into());
        }
        Ok(())
    }

    /// Multiplications and additions of the heads for a document of `n` tokens, forward.
    pub(super) fn flops(&self, n: f64) -> f64 {
        let [d_model, r, heads] = [self.d_model, self.rank, self.heads].map(|x| x as f64);
        let seen = Window::segments(self.window).span() as f64;
        let projection = 2.0 * n * d_model * heads * r + 4.0 * n * r * d_model;
        6.0 * n * d_model * d_model + projection + 4.0 * n * (seen.min(n) + r) * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        let [d, projected] = [self.d_model as u128, self.heads as u128 * self.rank as u128];
        d * (3 * d + projected)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers; the convolution and
    /// the offset bias start at zero.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> LongShortAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = |out| LinearConfig::new(self.d_model, out).init(device);
        let norm = || LayerNormConfig::new(self.d_model).init(device);
        let window = Window::segments(self.window);
        LongShortAttention {
            query: linear(self.d_model),
            key: linear(self.d_model),
            value: linear(self.d_model),
            projection: (self.rank > 0).then(|| linear(self.heads * self.rank)),
            window_norm: norm(),
            landmark_norm: norm(),
            conv: self
                .conv_kernel
                .map(|kernel| Initializer::Zeros.init([self.heads, 1, kernel, 1], device)),
            offset_bias: self
                .offset_bias
                .then(|| Initializer::Zeros.init([self.heads, window.offsets()], device)),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            window: self.window,
            rotary: self.rotary,
        }
    }
}

/// Long-short attention over a sequence, optionally with a class row.
///
/// ```text
/// Q = split(X W_q) / √d,   K = split(LN_win(X W_k)),   V = split(LN_win(X W_v))
/// P = softmax over tokens of X W_p,   K̄ = LN_lm(P K),   V̄ = LN_lm(P V)
/// A = softmax([Q K̄ᵀ | Q K_windowᵀ]),   C = merge(A [V̄ | V_window])
/// ```
///
/// (equations 2 to 5 of the paper, with the "DualLN" of section 3.3; where paper and release
/// differ, as the release's `lra/attention_transformer_ls.py`). Any number of tokens will do.
/// Built by [`LongShortAttentionConfig`].
#[derive(Module, Debug)]
pub struct LongShortAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// `W_p`: width → heads · rank, features grouped head by head; none at rank 0.
    pub projection: Option<Linear>,
    /// `LN_win`, over all heads' features of window keys and values.
    pub window_norm: LayerNorm,
    /// `LN_lm`, over all heads' features of landmark keys and values.
    pub landmark_norm: LayerNorm,
    /// Depthwise kernels `[h, 1, k, 1]`.
    pub conv: Option<Param<Tensor<4>>>,
    /// Scores by distance inside the window `[h, 2·reach + 1]`.
    pub offset_bias: Option<Param<Tensor<2>>>,
    /// Probability of attention dropout, and whether this module takes part in training.
    pub dropout: Dropout,
    heads: usize,
    window: usize,
    rotary: bool,
}

/// Queries, keys and values of the tokens, `[b, h, n, d]`.
struct TokenHeads {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    projection: Option<Projection>,
    /// The tokens as they came in, `[b, n, D]`.
    residual: Tensor<3>,
}

/// What `project` takes.
struct Projection {
    /// `[b, h, r, n]`
    scores: Tensor<4>,
    /// Keys and values, `[b, h, n, d]`, if they are outputs of their own; else the tokens'.
    own: Option<(Tensor<4>, Tensor<4>)>,
}

/// Queries, keys and values of all rows.
struct Heads {
    tokens: TokenHeads,
    /// `[documents, h, 1, d]`; its query is scaled already.
    class_row: Option<Rows>,
    layout: BatchLayout,
    scale: f64,
    dropout: AttentionDropout,
}

/// What `attend` takes, and what follows it.
struct Joined {
    attend: Attend,
    class_row: Option<Rows>,
    layout: BatchLayout,
    residual: Tensor<3>,
}

impl LongShortAttention {
    /// What the heads read of the sequence.
    ///
    /// # Shapes
    ///
    /// - tokens: `[b, n, D]`, any `n ≥ 1`; class row: `[documents, 1, D]`
    /// - output: as the rows given
    ///
    /// A padded row gives zeros (with a convolution, what its kernel reaches), as do all rows of a
    /// document without a real token.
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other.
    pub fn contexts(&self, input: AttentionInput) -> Contexts {
        let Joined {
            attend,
            class_row,
            layout,
            residual,
        } = self.join(self.heads(input));
        let value = self.conv.as_ref().map(|_| attend.value.clone());
        let context = ops::attend(attend).output;
        let class_row = class_row.map(|row| read_outputs(row, context.clone(), &layout));
        let context = match (&self.conv, value) {
            (Some(kernel), Some(value)) => context + convolve(value, kernel.val(), &layout),
            _ => context,
        };
        Contexts {
            tokens: merge(context),
            class_row: class_row.map(merge),
            residual,
        }
    }

    /// What the heads attend to in one document. Nothing is dropped.
    ///
    /// # Shapes
    ///
    /// - tokens: `[1, n, D]`, any `n ≥ 1`; class row: `[1, 1, D]`
    ///
    /// # Panics
    ///
    /// Panics if the input's shapes do not fit the module or each other, or if it isn't one document.
    pub fn maps(&self, input: AttentionInput) -> AttentionMaps {
        let [b, n, _] = input.tokens.dims();
        assert_eq!(
            [b, input.layout.layout().documents(b)],
            [1, 1],
            "maps are those of one document"
        );
        let heads = self.heads(input);
        let projection = heads.tokens.projection.as_ref();
        let scores = projection.map(|projection| projection.scores.clone());
        let Joined {
            mut attend,
            class_row,
            layout,
            residual: _,
        } = self.join(heads);
        attend.dropout = AttentionDropout::OFF;
        let [_, h, _, d] = attend.query.dims();
        let shares = |count, read: &dyn Fn(Tensor<4>) -> Tensor<4>| {
            shares_of([h, count, d], &attend.query, read)
        };
        let projection = scores.map(|scores| {
            let layout = layout.layout();
            shares(n, &|rows| {
                ops::project(scores.clone(), rows.clone(), rows, layout.clone()).value
            })
        });
        let landmarks = attend.landmarks.as_ref();
        let landmarks = landmarks.map_or(0, |(key, _)| key.dims()[2]);
        let attended = shares(landmarks + n, &|rows| {
            let mut attend = attend.clone();
            attend.value = rows.clone().narrow(2, landmarks, n);
            if let Some((_, value)) = &mut attend.landmarks {
                *value = rows.narrow(2, 0, landmarks);
            }
            ops::attend(attend).output
        });
        let class_row = class_row.map(|row| {
            let context = ops::attend(attend.clone()).output;
            shares(1 + n, &|rows| {
                let mut row = row.clone();
                row.value = rows.clone().narrow(2, 0, 1);
                read_by_class_row(row, context.clone(), rows.narrow(2, 1, n), &layout)
            })
        });
        AttentionMaps {
            window: attended.clone().narrow(3, landmarks, n).squeeze_dim(0),
            landmarks: (landmarks > 0).then(|| attended.narrow(3, 0, landmarks).squeeze_dim(0)),
            projection: projection.map(|shares| shares.squeeze_dim(0)),
            class_row: class_row.map(|shares| shares.reshape([h, 1 + n])),
        }
    }

    /// Queries, keys and values of all rows, the tokens' turned where that is asked for.
    fn heads(&self, input: AttentionInput) -> Heads {
        let [d_model, _] = self.query.weight.dims();
        input.check(d_model);
        let AttentionInput {
            tokens: x,
            layout,
            class_row,
            dropout_seed,
            norm,
        } = input;
        let [_, n, _] = x.dims();
        let d = d_model / self.heads;
        let device = x.device();
        let mut tokens = self.read(x, norm.as_ref());
        if self.rotary {
            let rotation = layout.rotation(n, d, &device);
            tokens.query = rotation.turn(tokens.query);
            tokens.key = rotation.turn(tokens.key);
            if let Some(projection) = &mut tokens.projection {
                projection.own = None;
            }
        }
        let scale = (d as f64).powf(-0.5);
        let class_row = class_row.map(|row| Rows {
            query: self.split(linear(row.clone(), &self.query)) * scale,
            key: self.split(linear(row.clone(), &self.key)),
            value: self.split(linear(row, &self.value)),
        });
        Heads {
            tokens,
            class_row,
            layout,
            scale,
            dropout: hash_dropout(&self.dropout, &device, dropout_seed),
        }
    }

    /// Projects the landmarks, and joins them with the window.
    fn join(&self, heads: Heads) -> Joined {
        let Heads {
            mut tokens,
            class_row,
            layout,
            scale,
            dropout,
        } = heads;
        let projected = tokens.projection.take().map(|Projection { scores, own }| {
            if let Some((key, value)) = own {
                return ops::project(scores, key, value, layout.layout().clone());
            }
            let (key, value) = (tokens.key.clone(), tokens.value.clone());
            let projected = ops::project(scores, key, value, layout.layout().clone());
            tokens.key = projected.tokens_key.clone();
            tokens.value = projected.tokens_value.clone();
            projected
        });
        let attend = Attend {
            query: tokens.query,
            key: tokens.key,
            value: tokens.value,
            landmarks: self.landmarks(projected, class_row.as_ref()),
            landmark_bias: None,
            bias: self.offset_bias.as_ref().map(|table| table.val()),
            relative_keys: None,
            layout: layout.layout().clone(),
            visibility: Window::segments(self.window).into(),
            scale,
            dropout,
        };
        Joined {
            attend,
            class_row,
            layout,
            residual: tokens.residual,
        }
    }

    /// Queries, keys and values of the tokens, and what the projection takes.
    fn read(&self, x: Tensor<3>, norm: Option<&LayerNorm>) -> TokenHeads {
        if let (Some(norm), Some(projection)) = (norm, &self.projection)
            && let Some(fused) = Fused::of(&x)
        {
            let layers = HeadsLayers {
                linear: HeadsLinear {
                    query: linear_layer(&self.query),
                    key: linear_layer(&self.key),
                    value: linear_layer(&self.value),
                    projection: linear_layer(projection),
                },
                norm: norm_layer(norm),
                window_norm: norm_layer(&self.window_norm),
            };
            let heads = fused.heads(x, layers, self.heads);
            return TokenHeads {
                query: Tensor::from_dispatch(heads.query),
                key: Tensor::from_dispatch(heads.key),
                value: Tensor::from_dispatch(heads.value),
                projection: Some(Projection {
                    scores: Tensor::from_dispatch(heads.scores),
                    own: Some((
                        Tensor::from_dispatch(heads.projected_key),
                        Tensor::from_dispatch(heads.projected_value),
                    )),
                }),
                residual: Tensor::from_dispatch(heads.residual),
            };
        }
        let (x, residual) = match norm {
            Some(norm) => layer_norm_through(x, norm),
            None => (x.clone(), x),
        };
        let windowed = |rows| self.split(layer_norm(rows, &self.window_norm));
        let (key, x) = linear_through(x, &self.key);
        let (value, x) = linear_through(x, &self.value);
        let (query, projection) = match &self.projection {
            Some(projection) => {
                let (query, x) = linear_through(x, &self.query);
                let scores = self.split(linear(x, projection)).swap_dims(2, 3);
                (query, Some(Projection { scores, own: None }))
            }
            None => (linear(x, &self.query), None),
        };
        TokenHeads {
            query: self.split(query),
            key: windowed(key),
            value: windowed(value),
            projection,
            residual,
        }
    }

    /// Landmark keys and values after `LN_lm`, `[documents, h, r (+ 1), d]`, the class row first.
    fn landmarks(
        &self,
        projected: Option<Projected>,
        class_row: Option<&Rows>,
    ) -> Option<(Tensor<4>, Tensor<4>)> {
        let projected = projected.map(|projected| (projected.key, projected.value));
        let (key, value) = match (class_row, projected) {
            (None, None) => return None,
            (None, Some(projected)) => projected,
            (Some(row), None) => (row.key.clone(), row.value.clone()),
            (Some(row), Some((key, value))) => (
                Tensor::cat(vec![row.key.clone(), key], 2),
                Tensor::cat(vec![row.value.clone(), value], 2),
            ),
        };
        let norm = |rows| self.split(layer_norm(merge(rows), &self.landmark_norm));
        Some((norm(key), norm(value)))
    }

    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        split(x, self.heads)
    }
}

/// A depthwise cross-correlation of each document's values with one kernel a head, zeros outside
/// the document and at padded tokens. `[b, h, n, d]`
fn convolve(value: Tensor<4>, kernel: Tensor<4>, layout: &BatchLayout) -> Tensor<4> {
    let reach = kernel.dims()[2] / 2;
    let along_tokens = |x| convolve_rows(x, kernel);
    if let Some(real) = layout.real_shares(0) {
        let real = real.cast(value.dtype());
        return along_tokens(value * real);
    }
    let Some([spread, places]) = layout.spread(reach, &value.device()) else {
        return along_tokens(value);
    };
    // Documents apart by `reach` zero rows, so that no kernel reaches over a boundary.
    let [b, h, n, d] = value.dims();
    let zero = Tensor::zeros([b, h, 1, d], (&value.device(), value.dtype()));
    let rows = Tensor::cat(vec![value, zero], 2).select(2, spread);
    let convolved = along_tokens(rows).select(2, places);
    debug_assert_eq!(convolved.dims(), [b, h, n, d]);
    convolved
}

/// A depthwise cross-correlation along the rows of `x` `[b, h, m, d]` with one kernel a head,
/// `[h, 1, k, 1]`.
pub(super) fn convolve_rows(x: Tensor<4>, kernel: Tensor<4>) -> Tensor<4> {
    let [h, _, length, _] = kernel.dims();
    let options = ConvOptions::new([1, 1], [length / 2, 0], [1, 1], h);
    conv2d(x, kernel, None, options)
}
