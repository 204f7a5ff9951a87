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
//! * Every pattern: [`Visibility`] says which keys and how many landmarks a query sees, for any body.
//! * Arguments are structures, the same through trait, autodiff, bodies and kernels.
//!
//! # Files
//!
//! One backend a file (`flex.rs`, `ndarray.rs`, `cube.rs`, `tch.rs`): Burn 0.23 drops two of them.
#![allow(
    deprecated,
    reason = "Burn 0.23 drops NdArray and LibTorch; 0.22 still has them"
)]

pub mod adamw;
mod autodiff;
pub mod class_row;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
pub(crate) mod fused;
mod gate;
pub mod layers;
#[cfg(feature = "fusion")]
mod meta;
#[cfg(feature = "ndarray")]
mod ndarray;
mod path;
pub mod plain;
mod record;
#[cfg(feature = "tch")]
mod tch;
mod tensor;

pub use path::{
    AttentionPath, PATH_VARIABLE, PathKind, attention_path, cooperative_is_asked_for, unknown_path,
};
#[cfg(feature = "tch")]
pub use tch::libtorch_device;
pub use tensor::{Attend, Attended, Layout, Projected, attend, project};
pub use transformer_ls_kernels::{
    Boundaries, Dropout as AttentionDropout, Grid, LandmarksSeen, Visibility, Window,
};
#[cfg(feature = "cube")]
pub use transformer_ls_kernels_wgsl::{cooperative, traffic};

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

/// Landmark rows of each document; its queries see the first of them, see
/// [`Visibility::landmarks`].
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

/// A tensor, if there is one. (`Option` is no type that an extension's arguments can have.)
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum OptionalTensor<B: Backend> {
    /// None is given, or wanted.
    None,
    /// Here it is.
    Some(FloatTensor<B>),
}

impl<B: Backend> OptionalTensor<B> {
    /// The same as an option.
    pub fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::Some(tensor) => Some(tensor),
        }
    }

    /// A look at it.
    pub fn as_option(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::Some(tensor) => Some(tensor),
        }
    }

    /// From an option.
    pub fn from_option(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::None, Self::Some)
    }
}

/// What [`LongShortBackend::project`] takes.
///
/// # Shapes
///
/// `b` batch rows, `h` heads, `r` landmarks a head, `n` tokens a row, `d` head width.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ProjectArgs<B: Backend> {
    /// `[b, h, r, n]`
    pub scores: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub key: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub value: FloatTensor<B>,
    /// How documents lie in the batch.
    #[extension_type]
    pub documents: Documents<B>,
}

/// What [`LongShortBackend::project_backward`] takes.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ProjectBackwardArgs<B: Backend> {
    /// What the operation took.
    #[extension_type]
    pub inputs: ProjectArgs<B>,
    /// What it gave, `[documents, h, r, 2·d + 1]`.
    pub landmarks: FloatTensor<B>,
    /// `[documents, h, r, 2·d + 1]`
    pub d_landmarks: FloatTensor<B>,
    /// `[b, h, n, d]`; what reads keys next made it.
    #[extension_type]
    pub d_key: OptionalTensor<B>,
    /// `[b, h, n, d]`; what reads values next made it.
    #[extension_type]
    pub d_value: OptionalTensor<B>,
}

/// What [`LongShortBackend::attend`] takes.
///
/// The score of a window key `j` for a query `i` is a sum of terms:
///
/// ```text
/// scale · (query[i] · key[j] + query[i] · relative_keys[o]) + bias[o],    o = offset of i and j
/// ```
///
/// Relative positions as Transformer-XL has them (Dai et al. 2019) are of this form: with its `u`
/// added to the queries, the table is `R` and the bias `scale · (v − u) · R[o]`.
///
/// The score of a landmark `t` has the same terms where the tables have entries for it, and one of its own:
///
/// ```text
/// scale · (query[i] · landmark key[t] + query[i] · relative_keys[o]) + bias[o] + landmark_bias[t],
///     o = offsets + landmarks that i sees after t
/// ```
///
/// # Shapes
///
/// As in [`ProjectArgs`]; where every row is one document without a mask, there may be another
/// number of keys, `m`, than of queries. Tables by offset have [`Window::offsets`] entries a head,
/// with a pair of a query and a key at [`Visibility::offset`]; or `r` more behind those, with a pair
/// of a query and a landmark at [`Visibility::landmark_offset`] among these.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct AttendArgs<B: Backend> {
    /// `[b, h, n, d]`
    pub query: FloatTensor<B>,
    /// `[b, h, m, d]`
    pub key: FloatTensor<B>,
    /// `[b, h, m, d]`
    pub value: FloatTensor<B>,
    /// `[documents, h, r, d]`
    #[extension_type]
    pub landmarks: Landmarks<B>,
    /// `[documents, h, r]`
    #[extension_type]
    pub landmark_bias: OptionalTensor<B>,
    /// `[h, entries]`
    #[extension_type]
    pub bias: OptionalTensor<B>,
    /// `[h, entries, d]`
    #[extension_type]
    pub relative_keys: OptionalTensor<B>,
    /// How documents lie in the batch.
    #[extension_type]
    pub documents: Documents<B>,
    /// What a query sees.
    pub visibility: Visibility,
    /// What products of queries and keys are multiplied by, usually `1 / √d`.
    pub scale: f64,
    /// Dropout of probabilities.
    pub dropout: AttentionDropout,
}

/// What [`LongShortBackend::attend_backward`] takes.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct AttendBackwardArgs<B: Backend> {
    /// What the operation took.
    #[extension_type]
    pub inputs: AttendArgs<B>,
    /// What it gave, `[b, h, n, d]`.
    pub output: FloatTensor<B>,
    /// What it gave besides, `[b, h, n]`.
    pub log_sum_exp: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub d_output: FloatTensor<B>,
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
    pub(crate) fn plus(self, key: OptionalTensor<B>, value: OptionalTensor<B>) -> Self {
        let sum = |own, given: OptionalTensor<B>| match given {
            OptionalTensor::None => own,
            OptionalTensor::Some(given) => B::float_add(given, own),
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
    /// `[b, h, m, d]`
    pub key: FloatTensor<B>,
    /// `[b, h, m, d]`
    pub value: FloatTensor<B>,
    /// As the landmarks given.
    #[extension_type]
    pub landmarks: Landmarks<B>,
    /// `[documents, h, r]`, with a landmarks' bias among the inputs.
    #[extension_type]
    pub landmark_bias: OptionalTensor<B>,
    /// `[h, entries]`, with a bias among the inputs.
    #[extension_type]
    pub bias: OptionalTensor<B>,
    /// `[h, entries, d]`, with relative keys among the inputs.
    #[extension_type]
    pub relative_keys: OptionalTensor<B>,
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
    /// `[P·key | P·value | log Σ exp scores]` in one tensor, `[documents, h, r, 2·d + 1]`. A document
    /// without a real token gives zeros.
    ///
    /// Keys and values are handed on to [`attend`](Self::attend), so that its gradients for them
    /// come back through here and the sum needs no memory of its own.
    #[fusion(meta = meta::project)]
    fn project(#[extension_type] args: ProjectArgs<Self>) -> ProjectOutput<Self> {
        plain::project::<Self>(args)
    }

    /// Gradients of [`project`](Self::project) for `scores`, `key` and `value`, given those of its
    /// outputs.
    #[fusion(meta = meta::project_backward)]
    fn project_backward(
        #[extension_type] args: ProjectBackwardArgs<Self>,
    ) -> ProjectGradients<Self> {
        plain::project_backward::<Self>(args)
    }

    /// Attention of every query over the landmarks of its document and the keys of its window,
    /// under one softmax, `[b, h, n, d]`; and the log-sum-exp of each query's scores, `[b, h, n]`,
    /// which is not differentiable. Rows of padded queries, and rows that see nothing, are 0.
    #[fusion(meta = meta::attend)]
    fn attend(#[extension_type] args: AttendArgs<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::attend::<Self>(args)
    }

    /// Gradients of [`attend`](Self::attend).
    #[fusion(meta = meta::attend_backward)]
    fn attend_backward(#[extension_type] args: AttendBackwardArgs<Self>) -> AttendGradients<Self> {
        plain::attend_backward::<Self>(args)
    }
}
