//! The seam between the model and the devices: the two operations of long-short attention as a
//! Burn backend extension.
//!
//! * [`project`](LongShortBackend::project), the long path: a softmax over the sequence turns keys
//!   and values into `r` landmarks a head.
//! * [`attend`](LongShortBackend::attend), the short path joined with the landmarks: one softmax
//!   over `[landmarks | window]` for every query.
//!
//! A LayerNorm that runs across heads stands between the two, which is why they are two. Their
//! backward passes are operations too, so that no backend ever stores the `n × (r + 2w)`
//! probabilities; the rule that ties them to autodiff is in `autodiff.rs`.
//!
//! # Which part is general
//!
//! * Every backend: [`plain`] holds free generic functions over any [`Backend`]. They are the
//!   default bodies, the fallback of a backend that overrides them, and the oracle of the tests.
//! * Every layout: tensors are logical `[b, h, n, d]`, usually views of memory `[b, n, h, d]`.
//!   Kernels take the strides as they come and choose those of their outputs.
//! * Every batch: [`Documents`] says how documents lie in it; one a row, or packed without
//!   padding.
//! * [`Window`] and [`OffsetBias`] are enums that grow: a causal window or one in two dimensions is
//!   a variant of the first, a score by relative position that depends on the query a variant of
//!   the second. The operations' signatures do not change with them.
//!
//! # Files
//!
//! One backend a file (`flex.rs`, `ndarray.rs`, `cube.rs`, `tch.rs`): Burn 0.23 drops two of them.
#![allow(
    clippy::too_many_arguments,
    reason = "the operations take what the mathematics takes"
)]
#![allow(
    deprecated,
    reason = "Burn 0.23 drops NdArray and LibTorch; 0.22 still has them"
)]

mod autodiff;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod gate;
pub mod layers;
#[cfg(feature = "fusion")]
mod meta;
#[cfg(feature = "ndarray")]
mod ndarray;
mod packed;
mod path;
pub mod plain;
mod record;
#[cfg(feature = "tch")]
mod tch;
mod tensor;

pub use packed::Boundaries;
pub use path::{AttentionPath, PATH_VARIABLE, attention_path, unknown_path};
pub use tensor::{Attended, Layout, Projected, attend, exact_gelu, project};

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

/// How documents lie in a batch `[b, h, n, d]`.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum Documents<B: Backend> {
    /// One document a row, every token real.
    Full,
    /// One document a row; mask `[b, n]`, true = a real token. Real tokens may lie anywhere.
    Padded(BoolTensor<B>),
    /// All documents end to end in the one row of the batch (`b = 1`).
    Packed(Boundaries),
}

/// Landmark rows that every query of a document sees.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum Landmarks<B: Backend> {
    /// Rank 0 and no class row.
    None,
    /// Keys and values, both `[documents, h, rows, d]`.
    Rows {
        /// `[documents, h, rows, d]`
        key: FloatTensor<B>,
        /// `[documents, h, rows, d]`
        value: FloatTensor<B>,
    },
}

/// An additive score of window keys by their relative position.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum OffsetBias<B: Backend> {
    /// None.
    None,
    /// A table `[h, offsets]` with the offset `query − key` at column
    /// `query − key + reach`, where `reach` is [`Window::reach`] and `offsets = 2·reach + 1`.
    Table(FloatTensor<B>),
}

/// Which keys of the sequence a query sees, besides the landmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// None: the landmarks alone.
    Off,
    /// Query `i` lies in segment `s = ⌊i/w⌋` of its document and sees the keys `j` with
    /// `s·w − e ≤ j < (s+1)·w + e`, `e = max(⌊w/2⌋, 1)`, inside the document (paper section 3.1).
    Segments {
        /// Segment length `w ≥ 1`, in tokens.
        width: usize,
    },
}

impl Window {
    /// The window of this width, off where the width is 0.
    pub fn segments(width: usize) -> Self {
        match width {
            0 => Self::Off,
            width => Self::Segments { width },
        }
    }

    /// How far, in tokens, a key that a query sees can lie from it at most: `w − 1 + e`.
    pub fn reach(self) -> usize {
        match self {
            Self::Off => 0,
            Self::Segments { width } => width - 1 + halo(width),
        }
    }
}

/// Tokens `e` that a segment of `width` sees on either side.
pub(crate) fn halo(width: usize) -> usize {
    (width / 2).max(1)
}

/// Dropout of attention probabilities.
///
/// Whether an entry stays is a hash of the seed and of its place (document, head, query, column),
/// the same in every body, so that a kernel needs no stored mask and can be compared with
/// [`plain`]. See [`transformer_ls_kernels_cpu::dropout`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionDropout {
    /// Share of entries that are dropped, in `[0, 1)`; 0 drops none.
    pub probability: f64,
    /// Seed of this operation's entries.
    pub seed: u32,
}

impl AttentionDropout {
    /// No dropout.
    pub const OFF: Self = Self {
        probability: 0.0,
        seed: 0,
    };

    /// The factor that keeps the expectation: `1 / (1 − probability)`.
    pub fn scale(&self) -> f64 {
        1.0 / (1.0 - self.probability)
    }
}

/// A gradient, if there is one.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum Gradient<B: Backend> {
    /// Nobody read the output.
    None,
    /// Of the output's shape.
    Some(FloatTensor<B>),
}

/// What [`LongShortBackend::project`] returns.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ProjectOutput<B: Backend> {
    /// `[P·key | P·value | log Σ exp scores]`, `[documents, h, r, 2·d + 1]`
    pub landmarks: FloatTensor<B>,
    /// The keys as they came in, `[b, h, n, d]`, for what reads them next.
    pub key: FloatTensor<B>,
    /// The values as they came in, `[b, h, n, d]`, for what reads them next.
    pub value: FloatTensor<B>,
}

/// Gradients that [`LongShortBackend::project_backward`] returns, each of its input's shape.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ProjectGradients<B: Backend> {
    /// `[b, h, r, n]`
    pub scores: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub key: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub value: FloatTensor<B>,
}

impl<B: Backend> ProjectGradients<B> {
    /// Adds what others made of the keys' and the values' gradients.
    pub(crate) fn plus(self, key: Gradient<B>, value: Gradient<B>) -> Self {
        let sum = |own, given| match given {
            Gradient::None => own,
            Gradient::Some(given) => B::float_add(given, own),
        };
        Self {
            scores: self.scores,
            key: sum(self.key, key),
            value: sum(self.value, value),
        }
    }
}

/// Gradients that [`LongShortBackend::attend_backward`] returns, each of its input's shape.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct AttendGradients<B: Backend> {
    /// `[b, h, n, d]`
    pub query: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub key: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub value: FloatTensor<B>,
    /// As the landmarks given.
    #[extension_type]
    pub landmarks: Landmarks<B>,
    /// As the bias given.
    #[extension_type]
    pub bias: OffsetBias<B>,
}

/// The two operations of long-short attention and their backward passes.
///
/// Letters: `b` batch rows, `h` heads, `n` tokens a row, `d` head width, `r` landmarks a head,
/// `w` window. All sums are in float32 (float64 for float64 inputs), whatever the storage.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    LibTorch: cfg(feature = "tch"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait LongShortBackend: Backend {
    /// Landmarks of every document: `P` = softmax over the document's tokens of `scores`, and
    /// `[P·key | P·value | log Σ exp scores]` in one tensor. A document without a real token gives
    /// zeros.
    ///
    /// Keys and values are handed on to [`attend`](Self::attend), so that its gradients for them
    /// come back through here and the sum needs no memory of its own.
    ///
    /// # Shapes
    ///
    /// - scores: `[b, h, r, n]`
    /// - key, value: `[b, h, n, d]`
    /// - output: landmarks `[documents, h, r, 2·d + 1]`
    #[fusion(meta = meta::project)]
    fn project(
        scores: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> ProjectOutput<Self> {
        plain::project::<Self>(scores, key, value, documents)
    }

    /// Gradients of [`project`](Self::project) for `scores`, `key` and `value`, given those of its
    /// outputs.
    ///
    /// # Shapes
    ///
    /// - d_landmarks, landmarks: `[documents, h, r, 2·d + 1]`
    /// - d_key, d_value: `[b, h, n, d]`; what reads keys and values next made them
    /// - the others and the results: as in [`project`](Self::project)
    #[fusion(meta = meta::project_backward)]
    fn project_backward(
        d_landmarks: FloatTensor<Self>,
        #[extension_type] d_key: Gradient<Self>,
        #[extension_type] d_value: Gradient<Self>,
        scores: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        landmarks: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> ProjectGradients<Self> {
        plain::project_backward::<Self>(
            d_landmarks,
            d_key,
            d_value,
            scores,
            key,
            value,
            landmarks,
            documents,
        )
    }

    /// Attention of every query over the landmarks of its document and the keys of its window,
    /// under one softmax; and the log-sum-exp of each query's scores, which is not differentiable.
    /// Rows of padded queries, and rows that see nothing, are 0.
    ///
    /// # Shapes
    ///
    /// - query, key, value: `[b, h, n, d]`
    /// - landmarks: `[documents, h, r, d]`
    /// - output: `[b, h, n, d]` and `[b, h, n]`
    #[fusion(meta = meta::attend)]
    fn attend(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] landmarks: Landmarks<Self>,
        #[extension_type] bias: OffsetBias<Self>,
        #[extension_type] documents: Documents<Self>,
        window: Window,
        scale: f64,
        dropout: AttentionDropout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::attend::<Self>(
            query, key, value, landmarks, bias, documents, window, scale, dropout,
        )
    }

    /// Gradients of [`attend`](Self::attend).
    ///
    /// # Shapes
    ///
    /// - d_output, output: `[b, h, n, d]`; log_sum_exp: `[b, h, n]`
    /// - the others and the results: as in [`attend`](Self::attend)
    #[fusion(meta = meta::attend_backward)]
    fn attend_backward(
        d_output: FloatTensor<Self>,
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] landmarks: Landmarks<Self>,
        #[extension_type] bias: OffsetBias<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
        window: Window,
        scale: f64,
        dropout: AttentionDropout,
    ) -> AttendGradients<Self> {
        plain::attend_backward::<Self>(
            d_output,
            query,
            key,
            value,
            landmarks,
            bias,
            output,
            log_sum_exp,
            documents,
            window,
            scale,
            dropout,
        )
    }

    /// The exact GELU, whose gradient Burn approximates on some backends; see
    /// [`plain::exact_gelu`].
    ///
    /// # Shapes
    ///
    /// Any; the output has the input's.
    #[fusion(default)]
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::exact_gelu::<Self>(x)
    }

    /// Gradient of [`exact_gelu`](Self::exact_gelu).
    ///
    /// # Shapes
    ///
    /// All alike.
    #[fusion(default)]
    fn exact_gelu_backward(d_output: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::exact_gelu_backward::<Self>(d_output, x)
    }
}
