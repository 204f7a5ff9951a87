//! The layers around attention as operations of CPUs: embeddings (`embed`), what is read of a token
//! before attention (`heads`, and `heads_unnormed` without LayerNorms), and what follows it in a block
//! (`after_attention`).
//!
//! Composed of a backend's own operations, these layers cost a CPU more than its arithmetic: each
//! operation makes and reads whole tensors. The CPU kernels compute them tile by tile, in one pass
//! forward and one backward. For the backward pass they keep inputs, and of wide feed-forward layers
//! what it would compute again.
//!
//! There is no other body. Modules compose the layers themselves wherever [`Fused::of`] gives them
//! none of these (GPUs with Fusion, LibTorch, types other than float32); that is the oracle of the
//! tests, too.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the trait |
//! | `cpu.rs` | the CPU kernels over Flex's and NdArray's tensors |
//! | `autodiff.rs` | the rules that tie them to autodiff |
//! | `tensor.rs` | the operations over `Tensor`, for modules |
#![cfg_attr(
    not(feature = "cpu"),
    allow(unused_variables, reason = "no backend is there to take the arguments")
)]

#[cfg(feature = "cpu")]
mod autodiff;
#[cfg(feature = "cpu")]
mod cpu;
mod tensor;

pub(crate) use tensor::{Fused, linear_layer};

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

use super::layers::NormLayer;
use super::{AttentionDropout, Boundaries};

/// A linear layer's parameters.
#[derive(ExtensionType, Clone, Debug)]
pub(crate) struct LinearLayer<B: Backend> {
    /// `[inputs, outputs]`
    pub(crate) weight: FloatTensor<B>,
    /// `[outputs]`
    pub(crate) bias: FloatTensor<B>,
}

/// The layers of [`FusedBackend::heads_unnormed`].
#[derive(ExtensionType, Clone, Debug)]
pub(crate) struct HeadsLinear<B: Backend> {
    /// `W_q`: `D` → `D`
    #[extension_type]
    pub(crate) query: LinearLayer<B>,
    /// `W_k`: `D` → `D`
    #[extension_type]
    pub(crate) key: LinearLayer<B>,
    /// `W_v`: `D` → `D`
    #[extension_type]
    pub(crate) value: LinearLayer<B>,
    /// `W_p`: `D` → `h · r`
    #[extension_type]
    pub(crate) projection: LinearLayer<B>,
}

/// The layers of [`FusedBackend::heads`].
#[derive(ExtensionType, Clone, Debug)]
pub(crate) struct HeadsLayers<B: Backend> {
    #[extension_type]
    pub(crate) linear: HeadsLinear<B>,
    /// In front of all others.
    #[extension_type]
    pub(crate) norm: NormLayer<B>,
    /// `LN_win`, after `W_k` and after `W_v`.
    #[extension_type]
    pub(crate) window_norm: NormLayer<B>,
}

/// What [`FusedBackend::heads`] and [`FusedBackend::heads_unnormed`] give. Keys and values come twice
/// and the input once more: the same numbers, but outputs of their own to autodiff, so that the backward
/// pass takes each reader's gradient as it is and adds them up itself.
#[derive(ExtensionType, Clone, Debug)]
pub(crate) struct HeadsOutput<B: Backend> {
    /// `[b, h, n, d]`
    pub(crate) query: FloatTensor<B>,
    /// `[b, h, n, d]`, for `attend`
    pub(crate) key: FloatTensor<B>,
    /// `[b, h, n, d]`, for `attend`
    pub(crate) value: FloatTensor<B>,
    /// `[b, h, r, n]`
    pub(crate) scores: FloatTensor<B>,
    /// `[b, h, n, d]`, for `project`
    pub(crate) projected_key: FloatTensor<B>,
    /// `[b, h, n, d]`, for `project`
    pub(crate) projected_value: FloatTensor<B>,
    /// The input `[b, n, D]`, for the residual.
    pub(crate) residual: FloatTensor<B>,
}

/// The layers of [`FusedBackend::after_attention`].
#[derive(ExtensionType, Clone, Debug)]
pub(crate) struct AfterAttentionLayers<B: Backend> {
    /// `W_o`: `D` → `D`
    #[extension_type]
    pub(crate) output: LinearLayer<B>,
    /// In front of the feed-forward layers.
    #[extension_type]
    pub(crate) norm: NormLayer<B>,
    /// `D` → `d_ff`
    #[extension_type]
    pub(crate) ff_in: LinearLayer<B>,
    /// `d_ff` → `D`
    #[extension_type]
    pub(crate) ff_out: LinearLayer<B>,
}

/// How [`FusedBackend::after_attention`] joins its layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AfterAttention {
    /// Whether the last residual is the normalised row, as in the release's language models.
    pub(crate) adds_norm: bool,
    /// Dropout after each layer.
    pub(crate) dropout: AttentionDropout,
}

/// The layers around attention on backends with kernels for them, and on `Autodiff` of these.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Autodiff
)]
pub(crate) trait FusedBackend: Backend {
    /// Queries, keys, values and landmark scores of every token:
    ///
    /// ```text
    /// X̂ = LN(X),   Q = split(X̂ W_q),   K = split(LN_win(X̂ W_k)),   V = split(LN_win(X̂ W_v))
    /// scores = split(X̂ W_p)ᵀ
    /// ```
    ///
    /// # Shapes
    ///
    /// - x: `[b, n, D]`
    /// - output: as in [`HeadsOutput`], for this many `heads`
    fn heads(
        x: FloatTensor<Self>,
        #[extension_type] layers: HeadsLayers<Self>,
        heads: usize,
    ) -> HeadsOutput<Self>;

    /// [`heads`](Self::heads) without its LayerNorms:
    ///
    /// ```text
    /// Q = split(X W_q),   K = split(X W_k),   V = split(X W_v),   scores = split(X W_p)ᵀ
    /// ```
    ///
    /// # Shapes
    ///
    /// As there.
    fn heads_unnormed(
        x: FloatTensor<Self>,
        #[extension_type] layers: HeadsLinear<Self>,
        heads: usize,
    ) -> HeadsOutput<Self>;

    /// What follows attention in a block, given what the heads read (`C`) and the block's input
    /// (`X`):
    ///
    /// ```text
    /// Y = X + drop₀(C W_o + b_o)
    /// output = Y + drop₂(drop₁(gelu(LN(Y) W_in + b_in)) W_out + b_out)
    /// ```
    ///
    /// with `LN(Y)` in the place of the `Y` that is added, if the setting wants it. Whether `dropₛ` keeps an entry is the hash of the seed, `s`, 0, its row and its column.
    ///
    /// # Shapes
    ///
    /// - context, residual, output: `[b, n, D]`
    fn after_attention(
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        #[extension_type] layers: AfterAttentionLayers<Self>,
        setting: AfterAttention,
    ) -> FloatTensor<Self>;

    /// The sum of the embeddings of each token and of its position, counted from the start of its
    /// row, or of its document in a `packed` batch.
    ///
    /// # Shapes
    ///
    /// - token: `[vocabulary, D]`; position: `[positions, D]`; ids: `[b, n]`
    /// - output: `[b, n, D]`
    fn embed(
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self>;
}
