//! Two patterns that together reach every key in two steps: the Sparse Transformer's (Child et al.
//! 2019, arXiv 1904.10509).

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Bool, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::heads::{AttentionInput, Contexts};
use super::rows::{Part, Prepared, Rows, check_fields, lowest, scale_of};
use crate::error::{ConfigError, refuse_too_large, refuse_zero};
use crate::ops::{self, Attend, AttentionDropout, LandmarksSeen, Layout, Visibility, Window};
use crate::seed::hash_dropout;

/// Which keys a [`SparseAttention`] sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SparsePattern {
    /// The first half of the heads see the keys within `stride`, the others every `stride`-th key
    /// from their own.
    #[default]
    Strided,
    /// All heads see the keys of their block of `stride`, and the last `summaries` of each block.
    Fixed,
}

/// Configuration of a [`SparseAttention`].
#[derive(Config, Debug, PartialEq)]
pub struct SparseAttentionConfig {
    /// Width `D` of the tokens.
    pub d_model: usize,
    /// Heads `h`; they divide the width.
    pub heads: usize,
    /// Which keys are seen.
    #[config(default = "SparsePattern::Strided")]
    pub pattern: SparsePattern,
    /// Stride, or length of a block, in tokens: best near the root of the length.
    #[config(default = 64)]
    pub stride: usize,
    /// Of the fixed pattern, how many keys of a block all see; at most the stride.
    #[config(default = 8)]
    pub summaries: usize,
    /// Whether no token sees one after it. A class row then sees all tokens, and none sees it.
    #[config(default = false)]
    pub causal: bool,
    /// Dropout of attention probabilities while training.
    #[config(default = 0.0)]
    pub attention_dropout: f64,
    /// Turn queries and keys by their positions (rotary embedding); class rows have none.
    #[config(default = false)]
    pub rotary: bool,
}

impl SparseAttentionConfig {
    /// What is wrong with this configuration, if anything.
    ///
    /// # Errors
    ///
    /// The first field that can't be built, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [("stride", self.stride), ("summaries", self.summaries)];
        refuse_zero(sizes)?;
        refuse_too_large(sizes)?;
        if self.pattern == SparsePattern::Fixed && self.summaries > self.stride {
            let problem = format!(
                "must be at most stride {}, {} is not",
                self.stride, self.summaries
            );
            return Err(ConfigError::new("summaries", problem));
        }
        if self.pattern == SparsePattern::Strided && self.heads < 2 {
            let problem = "must be at least 2: the strided pattern has two kinds of heads";
            return Err(ConfigError::new("heads", problem));
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
        let [d_model, heads, stride, summaries] =
            [self.d_model, self.heads, self.stride, self.summaries].map(|x| x as f64);
        let blocks = (n / stride).ceil();
        let (near, far, share) = match (self.pattern, self.causal) {
            // Halves of the heads.
            (SparsePattern::Strided, causal) => {
                let near = if causal {
                    stride + 1.0
                } else {
                    2.0 * stride + 1.0
                };
                (near, blocks, (heads / 2.0).ceil() / heads)
            }
            (SparsePattern::Fixed, _) => (stride + blocks * summaries, 0.0, 1.0),
        };
        let seen = share * near.min(n) + (1.0 - share) * far;
        6.0 * n * d_model * d_model + 4.0 * n * seen * d_model
    }

    /// About how many parameters the module has: its large matrices'.
    pub(super) fn parameters(&self) -> u128 {
        3 * (self.d_model as u128).pow(2)
    }

    /// Builds the module with PyTorch's initial distribution of Linear layers.
    ///
    /// # Panics
    ///
    /// Panics if [`validate`](Self::validate) refuses the configuration.
    pub fn init(&self, device: &Device) -> SparseAttention {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let linear = || LinearConfig::new(self.d_model, self.d_model).init(device);
        SparseAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            dropout: DropoutConfig::new(self.attention_dropout).init(),
            heads: self.heads,
            stride: self.stride,
            summaries: match self.pattern {
                SparsePattern::Strided => None,
                SparsePattern::Fixed => Some(self.summaries),
            },
            causal: self.causal,
            rotary: self.rotary,
        }
    }
}

/// Sparse attention, strided or fixed.
///
/// ```text
/// strided:  A¹_i = {j : |i − j| ≤ l},        A²_i = {j : (i − j) mod l = 0}
/// fixed:    A¹_i = {j : ⌊j/l⌋ = ⌊i/l⌋},      A²_i = {j : j mod l ≥ l − c}
/// ```
///
/// (section 4.3 of the paper, where all are causal, `j ≤ i`; without, they reach to both sides.) Of
/// the paper's three ways to join the two, the strided pattern has heads of either kind, and the
/// fixed one heads that see the union. A class row is seen by every token, and reads the whole
/// document. Built by [`SparseAttentionConfig`].
#[derive(Module, Debug)]
pub struct SparseAttention {
    /// `W_q`
    pub query: Linear,
    /// `W_k`
    pub key: Linear,
    /// `W_v`
    pub value: Linear,
    /// Probability of attention dropout.
    pub dropout: Dropout,
    heads: usize,
    stride: usize,
    /// Of the fixed pattern.
    summaries: Option<usize>,
    causal: bool,
    rotary: bool,
}

impl SparseAttention {
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
        Prepared::of(input, layers, self.heads, self.rotary).by_document(|part| {
            let [_, h, m, _] = part.rows.query.dims();
            let rows = part.rows.narrow(part.own, m - part.own);
            let device = rows.query.device();
            let dropout = hash_dropout(&self.dropout, &device, part.dropout_seed);
            let class_row = (part.own > 0 && !self.causal).then(|| part.rows.narrow(0, 1));
            let tokens = match self.summaries {
                Some(summaries) => self.fixed(part, rows, class_row, summaries, dropout),
                None => {
                    let near = h.div_ceil(2);
                    let half = |first, count| {
                        let row = class_row.as_ref().map(|row| row.heads(first, count));
                        (rows.heads(first, count), row)
                    };
                    let (rows, row) = half(0, near);
                    let near_context = self.near(part, rows, row, dropout);
                    let (rows, row) = half(near, h - near);
                    let far_context = self.far(part, rows, row, dropout);
                    Tensor::cat(vec![near_context, far_context], 1)
                }
            };
            part.behind_class_row(tokens)
        })
    }

    /// The keys within the stride.
    fn near(
        &self,
        part: &Part,
        rows: Rows,
        class_row: Option<Rows>,
        dropout: AttentionDropout,
    ) -> Tensor<4> {
        // A window that ends `behind` tokens after the query's own.
        let behind = if self.causal { 0 } else { self.stride };
        let visibility = Visibility {
            window: Window::Causal {
                width: self.stride + 1 + behind,
            },
            memory: behind,
            landmarks: LandmarksSeen::All,
        };
        let scale = scale_of(&rows.query);
        ops::attend(Attend {
            query: rows.query,
            key: rows.key,
            value: rows.value,
            landmarks: class_row.map(|row| (row.key, row.value)),
            landmark_bias: None,
            bias: None,
            relative_keys: None,
            layout: part.layout_from(part.own),
            visibility,
            scale,
            dropout,
        })
        .output
    }

    /// Every `stride`-th key: among tokens with the same remainder, all.
    fn far(
        &self,
        part: &Part,
        rows: Rows,
        class_row: Option<Rows>,
        dropout: AttentionDropout,
    ) -> Tensor<4> {
        let blocks = Blocks::of(part, &rows, self.stride);
        let Blocks {
            b,
            n,
            count,
            length,
            ..
        } = blocks;
        let [_, h, _, d] = rows.query.dims();
        // [b, h, count, length, d] → [b, length, h, count, d]
        let turn = |x: Tensor<5>| x.permute([0, 3, 1, 2, 4]);
        let scale = scale_of(&rows.query);
        let rows = rows.map(|x| turn(blocks.cut(x)).reshape([b * length, h, count, d]));
        let layout = match blocks.real.clone() {
            None => Layout::Full,
            Some(real) => Layout::Padded(real.swap_dims(1, 2).reshape([b * length, count])),
        };
        let landmarks = class_row.map(|row| {
            let repeated = |x: Tensor<4>| {
                let x = x.unsqueeze_dim::<5>(1).expand([b, length, h, 1, d]);
                x.reshape([b * length, h, 1, d])
            };
            (repeated(row.key), repeated(row.value))
        });
        let output = ops::attend(Attend {
            query: rows.query,
            key: rows.key,
            value: rows.value,
            landmarks,
            landmark_bias: None,
            bias: None,
            relative_keys: None,
            layout,
            visibility: self.all_of(count).into(),
            scale,
            dropout,
        })
        .output;
        let output = output.reshape([b, length, h, count, d]);
        let output = output.permute([0, 2, 3, 1, 4]);
        output.reshape([b, h, count * length, d]).narrow(2, 0, n)
    }

    /// The keys of a token's block, and the last ones of all others.
    fn fixed(
        &self,
        part: &Part,
        rows: Rows,
        class_row: Option<Rows>,
        summaries: usize,
        dropout: AttentionDropout,
    ) -> Tensor<4> {
        let blocks = Blocks::of(part, &rows, self.stride);
        let Blocks {
            b,
            n,
            count,
            length,
            ..
        } = blocks;
        let [_, h, _, d] = rows.query.dims();
        let (scale, device, dtype) = (
            scale_of(&rows.query),
            rows.query.device(),
            rows.query.dtype(),
        );
        // A block shorter than the stride is the only one, and needs no summary.
        let summaries = summaries.min(length);
        let own = usize::from(class_row.is_some());
        let landmarks = own + count * summaries;
        // The class row and the summaries, alike for every block: [b · count, h, landmarks, d]
        let seen = |x: Tensor<5>, row: Option<Tensor<4>>| {
            let last = x.narrow(3, length - summaries, summaries);
            let last = last.reshape([b, h, count * summaries, d]);
            let all: Vec<Tensor<4>> = row.into_iter().chain([last]).collect();
            let all = Tensor::cat(all, 2).unsqueeze_dim::<5>(1);
            let all = all.expand([b, count, h, landmarks, d]);
            all.reshape([b * count, h, landmarks, d])
        };
        let (key_row, value_row) = class_row.map(|row| (row.key, row.value)).unzip();
        let rows = rows.map(|x| blocks.cut(x).reshape([b, h, count * length, d]));
        let cut = |x: &Tensor<4>| x.clone().reshape([b, h, count, length, d]);
        let landmark_rows = (
            seen(cut(&rows.key), key_row),
            seen(cut(&rows.value), value_row),
        );
        let rows = rows.map(|x| {
            let x = x.reshape([b, h, count, length, d]).swap_dims(1, 2);
            x.reshape([b * count, h, length, d])
        });
        // A block's own summaries are in its window; causal blocks see those before alone.
        let hidden: Vec<bool> = (0..count)
            .flat_map(|block| {
                let causal = self.causal;
                let others = (0..count).flat_map(move |other| {
                    let hides = other == block || causal && other > block;
                    std::iter::repeat_n(hides, summaries)
                });
                std::iter::repeat_n(false, own).chain(others)
            })
            .collect();
        let hidden = TensorData::new(hidden, [1, count, landmarks]);
        let hidden = Tensor::<3, Bool>::from_data(hidden, &device);
        let hidden = hidden.expand([b, count, landmarks]);
        let hidden = match blocks.real.clone() {
            None => hidden,
            Some(real) => {
                let last = real.narrow(2, length - summaries, summaries);
                let last = last.reshape([b, 1, count * summaries]).bool_not();
                let row = Tensor::<3, Bool>::zeros([b, 1, own], &device);
                let padding = match own {
                    0 => last,
                    _ => Tensor::cat(vec![row, last], 2),
                };
                hidden.bool_or(padding.expand([b, count, landmarks]))
            }
        };
        let hidden = hidden.reshape([b * count, 1, landmarks]);
        let bias = Tensor::<3>::zeros([b * count, h, landmarks], (&device, dtype));
        let bias = bias.mask_fill(hidden.expand([b * count, h, landmarks]), lowest(dtype));
        let layout = match blocks.real.clone() {
            None => Layout::Full,
            Some(real) => Layout::Padded(real.reshape([b * count, length])),
        };
        let output = ops::attend(Attend {
            query: rows.query,
            key: rows.key,
            value: rows.value,
            landmarks: Some(landmark_rows),
            landmark_bias: Some(bias),
            bias: None,
            relative_keys: None,
            layout,
            visibility: self.all_of(length).into(),
            scale,
            dropout,
        })
        .output;
        let output = output.reshape([b, count, h, length, d]).swap_dims(1, 2);
        output.reshape([b, h, count * length, d]).narrow(2, 0, n)
    }

    /// All keys of so many, up to the query's own where nothing after it is seen.
    fn all_of(&self, keys: usize) -> Window {
        match self.causal {
            true => Window::Causal { width: keys },
            false => Window::All,
        }
    }
}

/// Tokens in blocks of one length, with zeros behind the last.
struct Blocks {
    b: usize,
    /// Tokens.
    n: usize,
    count: usize,
    length: usize,
    /// `[b, count, length]`; none if all are tokens.
    real: Option<Tensor<3, Bool>>,
}

impl Blocks {
    fn of(part: &Part, rows: &Rows, stride: usize) -> Self {
        let [b, _, n, _] = rows.query.dims();
        let length = stride.min(n);
        let count = n.div_ceil(length);
        let more = count * length - n;
        let device = rows.query.device();
        let mask = match part.layout_from(part.own) {
            Layout::Padded(mask) => Some(mask),
            _ => (more > 0).then(|| Tensor::<2, Bool>::ones([b, n], &device)),
        };
        let real = mask.map(|mask| {
            let mask = match more {
                0 => mask,
                more => Tensor::cat(vec![mask, Tensor::zeros([b, more], &device)], 1),
            };
            mask.reshape([b, count, length])
        });
        Self {
            b,
            n,
            count,
            length,
            real,
        }
    }

    /// `[b, h, n, d]` → `[b, h, count, length, d]`
    fn cut(&self, x: Tensor<4>) -> Tensor<5> {
        let [b, h, n, d] = x.dims();
        let more = self.count * self.length - n;
        let x = match more {
            0 => x,
            more => {
                let zeros = Tensor::zeros([b, h, more, d], (&x.device(), x.dtype()));
                Tensor::cat(vec![x, zeros], 2)
            }
        };
        x.reshape([b, h, self.count, self.length, d])
    }
}
