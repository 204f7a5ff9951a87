//! LayerNorm, the exact GELU, embeddings and linear layers as operations.
//!
//! Shaders compute them on devices that compile WGSL. LayerNorm and GELU are one pass each there, for
//! Fusion does not join their passes, least of all backward. The gradient of an embedding is summed
//! up by many workgroups, where Burn has one invocation a channel go through all tokens. Linear
//! layers are products of tiles that nothing has to be tried out for; the gradients of weight and bias,
//! sums over all rows, are one pass over inputs and gradients. On CPUs LayerNorm is a kernel too, and so
//! is a linear layer of few rows, as decoding has it. Elsewhere LayerNorm, embeddings and linear layers
//! are Burn's, and the GELU is an operation because Burn approximates its gradient on some backends.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the trait |
//! | `plain.rs` | bodies in tensor operations: the default, and the oracle of the tests |
//! | `cube.rs` | the shaders, where a runtime of CubeCL compiles WGSL; the CPU kernels are in `../cpu.rs` |
//! | `meta.rs` | shapes and types of outputs, for Fusion |
//! | `autodiff.rs` | the rules that tie them to autodiff |
//! | `tensor.rs` | the operations over `Tensor`, for modules |

mod autodiff;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "fusion")]
mod meta;
pub mod plain;
mod tensor;

pub use tensor::exact_gelu;
pub(crate) use tensor::{
    embed, embedding, layer_norm, layer_norm_through, linear, linear_onto, linear_plus,
    linear_through, norm_layer, shader_layers,
};

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

use super::{Boundaries, OptionalTensor};

/// ε of every LayerNorm of the model.
pub(crate) const EPSILON: f64 = 1e-5;

/// A LayerNorm's parameters, or their gradients.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct NormLayer<B: Backend> {
    /// γ `[D]`
    pub gamma: FloatTensor<B>,
    /// β `[D]`
    pub beta: FloatTensor<B>,
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

/// What [`LayersBackend::embed_backward`] gives.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct EmbedGradients<B: Backend> {
    /// `[vocabulary, D]`
    pub token: FloatTensor<B>,
    /// `[positions, D]`, with a table of positions among the inputs.
    #[extension_type]
    pub position: OptionalTensor<B>,
}

/// LayerNorm, the exact GELU, embeddings and linear layers, and their backward passes.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    LibTorch: cfg(feature = "tch"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait LayersBackend: Backend {
    /// LayerNorm of every row, `x̂ γ + β`.
    ///
    /// # Shapes
    ///
    /// - x and output: `[.., D]`
    #[fusion(meta = meta::norm)]
    fn norm(x: FloatTensor<Self>, #[extension_type] layer: NormLayer<Self>) -> FloatTensor<Self> {
        plain::norm::<Self>(x, layer)
    }

    /// Gradients of [`norm`](Self::norm); that of `x` is added to `added`.
    ///
    /// # Shapes
    ///
    /// As there; added: as x
    #[fusion(meta = meta::norm_backward)]
    fn norm_backward(
        d_output: FloatTensor<Self>,
        x: FloatTensor<Self>,
        #[extension_type] layer: NormLayer<Self>,
        #[extension_type] added: OptionalTensor<Self>,
    ) -> LayerNormGradients<Self> {
        plain::norm_backward::<Self>(d_output, x, layer, added)
    }

    /// [`norm`](Self::norm), and `x` once more: the same numbers, but to autodiff an output of its
    /// own, whose gradient the backward pass of the LayerNorm adds its own to.
    ///
    /// # Shapes
    ///
    /// - x and both outputs: `[.., D]`
    #[fusion(default)]
    fn norm_through(
        x: FloatTensor<Self>,
        #[extension_type] layer: NormLayer<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        (Self::norm(x.clone(), layer), x)
    }

    /// The exact GELU, whose gradient Burn approximates on some backends; see
    /// [`plain::exact_gelu`]. Fusion takes it apart and joins it with its neighbours.
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

    /// [`exact_gelu`](Self::exact_gelu) as one pass that Fusion leaves as it is.
    ///
    /// # Shapes
    ///
    /// Any; the output has the input's.
    #[fusion(dtype = x, shape = x.clone())]
    fn gelu_pass(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::exact_gelu(x)
    }

    /// Gradient of [`gelu_pass`](Self::gelu_pass).
    ///
    /// # Shapes
    ///
    /// All alike.
    #[fusion(dtype = x, shape = x.clone())]
    fn gelu_pass_backward(d_output: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::exact_gelu_backward(d_output, x)
    }

    /// The sum of the embeddings of each token and, where there is a table of them, of its position,
    /// counted from the start of its row, or of its document in a `packed` batch.
    ///
    /// # Shapes
    ///
    /// - token: `[vocabulary, D]`; position: `[positions, D]`; ids: `[b, n]`
    /// - output: `[b, n, D]`
    #[fusion(meta = meta::embed)]
    fn embed(
        token: FloatTensor<Self>,
        #[extension_type] position: OptionalTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        plain::embed::<Self>(token, position, ids, packed)
    }

    /// Gradients of [`embed`](Self::embed) for its tables, of which the shapes count alone.
    ///
    /// # Shapes
    ///
    /// As there.
    #[fusion(meta = meta::embed_backward)]
    fn embed_backward(
        d_output: FloatTensor<Self>,
        token: FloatTensor<Self>,
        #[extension_type] position: OptionalTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> EmbedGradients<Self> {
        plain::embed_backward::<Self>(d_output, token, position, ids, packed)
    }

    /// A linear layer, `x W + b` or `x W`, as Burn's module computes it, added to `added`.
    ///
    /// # Shapes
    ///
    /// - x: `[.., inputs]`; weight: `[inputs, outputs]`; bias: `[outputs]`
    /// - added and output: `[.., outputs]`
    #[fusion(meta = meta::linear_layer)]
    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalTensor<Self>,
        #[extension_type] added: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        plain::linear_layer::<Self>(x, weight, bias, added)
    }

    /// [`linear_layer`](Self::linear_layer) with nothing added, and `x` once more, as in
    /// [`norm_through`](Self::norm_through).
    ///
    /// # Shapes
    ///
    /// - outputs: `[.., outputs]`, `[.., inputs]`
    #[fusion(default)]
    fn linear_through(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let output = Self::linear_layer(x.clone(), weight, bias, OptionalTensor::None);
        (output, x)
    }

    /// Gradient of [`linear_layer`](Self::linear_layer) for `x`, added to `added`.
    ///
    /// # Shapes
    ///
    /// As there; added: as x
    #[fusion(meta = meta::linear_layer_dx)]
    fn linear_layer_dx(
        d_output: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] added: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        plain::linear_layer_dx::<Self>(d_output, weight, added)
    }

    /// Gradients of [`linear_layer`](Self::linear_layer) for weight and bias, in this order.
    ///
    /// # Shapes
    ///
    /// - x: `[.., inputs]`; d_output: `[.., outputs]`
    /// - outputs: `[inputs, outputs]`, `[outputs]`
    #[fusion(meta = meta::linear_layer_backward)]
    fn linear_layer_backward(
        d_output: FloatTensor<Self>,
        x: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::linear_layer_backward::<Self>(d_output, x)
    }
}
