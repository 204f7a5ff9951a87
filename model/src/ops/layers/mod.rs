//! LayerNorm and the exact GELU as operations.
//!
//! Shaders compute them in one pass each on devices that compile WGSL, for Fusion does not join
//! their passes there, least of all backward. Elsewhere LayerNorm is Burn's module, and the GELU an
//! operation because Burn approximates its gradient on some backends.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the trait |
//! | `plain.rs` | bodies in tensor operations: the default, and the oracle of the tests |
//! | `cube.rs` | the shaders, where a runtime of CubeCL compiles WGSL |
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
pub(crate) use tensor::layer_norm;
pub(in crate::ops) use tensor::norm_layer;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};

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

/// LayerNorm and the exact GELU, and their backward passes.
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
}
