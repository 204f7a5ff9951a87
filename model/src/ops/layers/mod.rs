//! The layers around attention as operations: embeddings (`embed`), what is read of a token before
//! attention (`heads`), what follows it in a block (`after_attention`), and the class row's reading
//! of the outputs (`class_row`).
//!
//! Composed of a backend's own operations, these layers cost a CPU more than its arithmetic: each
//! operation makes and reads whole tensors. The CPU kernels compute them tile by tile, in one pass
//! forward and one backward, and keep nothing but inputs for the backward pass; see
//! [`fused_layers`]. Elsewhere (GPUs with Fusion, LibTorch) modules compose them as ever, but for
//! LayerNorm and GELU on devices that compile WGSL: shaders compute these in one pass each.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the trait |
//! | `plain.rs` | bodies in tensor operations: the default, and the oracle of the tests |
//! | `cube.rs` | the shaders, where a runtime of CubeCL compiles WGSL |
//! | `meta.rs` | shapes and types of outputs, for Fusion |
//! | `cpu.rs` | the CPU kernels over Flex's and NdArray's tensors |
//! | `autodiff.rs` | the rules that tie them to autodiff |
//! | `tensor.rs` | the operations over `Tensor`, for modules |

mod autodiff;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "fusion")]
mod meta;
pub mod plain;
mod tensor;

pub use tensor::{
    AfterAttentionModules, Heads, HeadsModules, after_attention, class_row, embed, fused_layers,
    heads,
};
pub(crate) use tensor::{layer_norm, shader_layers};

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

use super::{AttentionDropout, Boundaries, Documents, OptionalTensor};

/// ε of every LayerNorm of the model.
pub(crate) const EPSILON: f64 = 1e-5;

/// A linear layer's parameters, or their gradients.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct LinearLayer<B: Backend> {
    /// `[inputs, outputs]`
    pub weight: FloatTensor<B>,
    /// `[outputs]`
    pub bias: FloatTensor<B>,
}

/// A LayerNorm's parameters, or their gradients.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct NormLayer<B: Backend> {
    /// γ `[D]`
    pub gain: FloatTensor<B>,
    /// β `[D]`
    pub offset: FloatTensor<B>,
}

/// The layers of [`LayersBackend::heads`], or their gradients.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct HeadsLayers<B: Backend> {
    /// In front of all others.
    #[extension_type]
    pub norm: NormLayer<B>,
    /// `W_q`: `D` → `D`
    #[extension_type]
    pub query: LinearLayer<B>,
    /// `W_k`: `D` → `D`
    #[extension_type]
    pub key: LinearLayer<B>,
    /// `W_v`: `D` → `D`
    #[extension_type]
    pub value: LinearLayer<B>,
    /// `LN_win`, after `W_k` and after `W_v`.
    #[extension_type]
    pub window_norm: NormLayer<B>,
    /// `W_p`: `D` → `h · r`
    #[extension_type]
    pub projection: LinearLayer<B>,
}

/// What [`LayersBackend::heads`] gives. Keys and values come twice and the input once more: the
/// same numbers, but outputs of their own to autodiff, so that the backward pass takes each
/// reader's gradient as it is and adds them up itself.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct HeadsOutput<B: Backend> {
    /// `[b, h, n, d]`
    pub query: FloatTensor<B>,
    /// `[b, h, n, d]`, for `attend`
    pub key: FloatTensor<B>,
    /// `[b, h, n, d]`, for `attend`
    pub value: FloatTensor<B>,
    /// `[b, h, r, n]`
    pub scores: FloatTensor<B>,
    /// `[b, h, n, d]`, for `project`
    pub projected_key: FloatTensor<B>,
    /// `[b, h, n, d]`, for `project`
    pub projected_value: FloatTensor<B>,
    /// The input `[b, n, D]`, for the residual.
    pub residual: FloatTensor<B>,
}

/// Gradients of a [`HeadsOutput`].
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct HeadsOutputGradients<B: Backend> {
    /// `[b, h, n, d]`
    #[extension_type]
    pub query: OptionalTensor<B>,
    /// `[b, h, n, d]`
    #[extension_type]
    pub key: OptionalTensor<B>,
    /// `[b, h, n, d]`
    #[extension_type]
    pub value: OptionalTensor<B>,
    /// `[b, h, r, n]`
    #[extension_type]
    pub scores: OptionalTensor<B>,
    /// `[b, h, n, d]`
    #[extension_type]
    pub projected_key: OptionalTensor<B>,
    /// `[b, h, n, d]`
    #[extension_type]
    pub projected_value: OptionalTensor<B>,
    /// `[b, n, D]`
    #[extension_type]
    pub residual: OptionalTensor<B>,
}

/// What [`LayersBackend::heads_backward`] gives.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct HeadsGradients<B: Backend> {
    /// `[b, n, D]`
    pub x: FloatTensor<B>,
    /// Of the parameters.
    #[extension_type]
    pub layers: HeadsLayers<B>,
}

/// The layers of [`LayersBackend::after_attention`], or their gradients.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct AfterAttentionLayers<B: Backend> {
    /// `W_o`: `D` → `D`
    #[extension_type]
    pub output: LinearLayer<B>,
    /// In front of the feed-forward layers.
    #[extension_type]
    pub norm: NormLayer<B>,
    /// `D` → `d_ff`
    #[extension_type]
    pub ff_in: LinearLayer<B>,
    /// `d_ff` → `D`
    #[extension_type]
    pub ff_out: LinearLayer<B>,
}

/// What [`LayersBackend::after_attention_backward`] gives.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct AfterAttentionGradients<B: Backend> {
    /// `[b, n, D]`
    pub context: FloatTensor<B>,
    /// `[b, n, D]`
    pub residual: FloatTensor<B>,
    /// Of the parameters.
    #[extension_type]
    pub layers: AfterAttentionLayers<B>,
}

/// What [`LayersBackend::embed_backward`] gives.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct EmbedGradients<B: Backend> {
    /// `[vocabulary, D]`
    pub token: FloatTensor<B>,
    /// `[positions, D]`
    pub position: FloatTensor<B>,
}

/// What [`LayersBackend::norm_backward`] gives.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct LayerNormGradients<B: Backend> {
    /// `[.., D]`
    pub x: FloatTensor<B>,
    /// Of the parameters.
    #[extension_type]
    pub layer: NormLayer<B>,
}

/// What [`LayersBackend::class_row_backward`] gives.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ClassRowGradients<B: Backend> {
    /// `[documents, h, 1, d]`
    pub query: FloatTensor<B>,
    /// `[documents, h, 1, d]`
    pub key: FloatTensor<B>,
    /// `[documents, h, 1, d]`
    pub value: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub context: FloatTensor<B>,
}

/// The layers around attention, and their backward passes.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    LibTorch: cfg(feature = "tch"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait LayersBackend: Backend {
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
    #[fusion(default)]
    fn heads(
        x: FloatTensor<Self>,
        #[extension_type] layers: HeadsLayers<Self>,
        heads: usize,
    ) -> HeadsOutput<Self> {
        plain::heads::<Self>(x, layers, heads)
    }

    /// Gradients of [`heads`](Self::heads).
    ///
    /// # Shapes
    ///
    /// As there.
    #[fusion(default)]
    fn heads_backward(
        #[extension_type] d_output: HeadsOutputGradients<Self>,
        x: FloatTensor<Self>,
        #[extension_type] layers: HeadsLayers<Self>,
    ) -> HeadsGradients<Self> {
        plain::heads_backward::<Self>(d_output, x, layers)
    }

    /// What follows attention in a block, given what the heads read (`C`) and the block's input
    /// (`X`):
    ///
    /// ```text
    /// Y = X + drop₀(C W_o + b_o)
    /// output = Y + drop₂(drop₁(gelu(LN(Y) W_in + b_in)) W_out + b_out)
    /// ```
    ///
    /// Whether `dropₛ` keeps an entry is the hash of the seed, `s`, 0, its row and its column.
    ///
    /// # Shapes
    ///
    /// - context, residual, output: `[b, n, D]`
    #[fusion(default)]
    fn after_attention(
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        #[extension_type] layers: AfterAttentionLayers<Self>,
        dropout: AttentionDropout,
    ) -> FloatTensor<Self> {
        plain::after_attention::<Self>(context, residual, layers, dropout)
    }

    /// Gradients of [`after_attention`](Self::after_attention).
    ///
    /// # Shapes
    ///
    /// As there.
    #[fusion(default)]
    fn after_attention_backward(
        d_output: FloatTensor<Self>,
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        #[extension_type] layers: AfterAttentionLayers<Self>,
        dropout: AttentionDropout,
    ) -> AfterAttentionGradients<Self> {
        plain::after_attention_backward::<Self>(d_output, context, residual, layers, dropout)
    }

    /// The sum of the embeddings of each token and of its position, counted from the start of its
    /// row, or of its document in a `packed` batch.
    ///
    /// # Shapes
    ///
    /// - token: `[vocabulary, D]`; position: `[positions, D]`; ids: `[b, n]`
    /// - output: `[b, n, D]`
    #[fusion(default)]
    fn embed(
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        plain::embed::<Self>(token, position, ids, packed)
    }

    /// Gradients of [`embed`](Self::embed).
    ///
    /// # Shapes
    ///
    /// As there.
    #[fusion(default)]
    fn embed_backward(
        d_output: FloatTensor<Self>,
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> EmbedGradients<Self> {
        plain::embed_backward::<Self>(d_output, token, position, ids, packed)
    }

    /// Class rows read the outputs of their documents: with `p = softmax([q·k, q·C_1 … q·C_n])` over
    /// the real tokens, `p_0 v + Σ p_i C_i`; 0 for a document without a real token.
    ///
    /// # Shapes
    ///
    /// - query, key, value, output: `[documents, h, 1, d]`; context: `[b, h, n, d]`
    #[fusion(default)]
    fn class_row(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> FloatTensor<Self> {
        super::plain::class_row::<Self>(query, key, value, context, documents)
    }

    /// Gradients of [`class_row`](Self::class_row).
    ///
    /// # Shapes
    ///
    /// As there.
    #[fusion(default)]
    fn class_row_backward(
        d_output: FloatTensor<Self>,
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> ClassRowGradients<Self> {
        super::plain::class_row_backward::<Self>(d_output, query, key, value, context, documents)
    }

    /// LayerNorm of every row, `x̂ γ + β`.
    ///
    /// # Shapes
    ///
    /// - x and output: `[.., D]`
    #[fusion(meta = meta::norm)]
    fn norm(x: FloatTensor<Self>, #[extension_type] layer: NormLayer<Self>) -> FloatTensor<Self> {
        plain::norm::<Self>(x, layer)
    }

    /// Gradients of [`norm`](Self::norm).
    ///
    /// # Shapes
    ///
    /// As there.
    #[fusion(meta = meta::norm_backward)]
    fn norm_backward(
        d_output: FloatTensor<Self>,
        x: FloatTensor<Self>,
        #[extension_type] layer: NormLayer<Self>,
    ) -> LayerNormGradients<Self> {
        plain::norm_backward::<Self>(d_output, x, layer)
    }

    /// The exact GELU as one pass of its own;
    /// [`exact_gelu`](crate::ops::LongShortBackend::exact_gelu) is the one that Fusion may take apart.
    ///
    /// # Shapes
    ///
    /// Any; the output has the input's.
    #[fusion(dtype = x, shape = x.clone())]
    fn activate(x: FloatTensor<Self>) -> FloatTensor<Self> {
        super::plain::exact_gelu::<Self>(x)
    }

    /// Gradient of [`activate`](Self::activate).
    ///
    /// # Shapes
    ///
    /// All alike.
    #[fusion(dtype = x, shape = x.clone())]
    fn activate_backward(d_output: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        super::plain::exact_gelu_backward::<Self>(d_output, x)
    }
}

#[cfg(feature = "tch")]
impl LayersBackend for burn_tch::LibTorch {}
