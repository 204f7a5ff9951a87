//! LayerNorm and GELU over [`Tensor`] and Burn's modules.

use burn::backend::Dispatch;
use burn::module::Param;
use burn::nn::LayerNorm;
use burn::tensor::{DType, Tensor};

use super::{LayersBackend, NormLayer};
use crate::ops::{PathKind, attention_path};

/// Whether LayerNorm and GELU are shaders' on this tensor's device.
fn shader_layers<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.dtype(), DType::F32 | DType::F16)
        && attention_path(&x.device()).kind == PathKind::Wgsl
}

/// The widest rows that a shader normalises.
#[cfg(feature = "cube")]
const WIDEST_FUSED_NORM: usize = transformer_ls_kernels_wgsl::MAX_LAYER_WIDTH;
#[cfg(not(feature = "cube"))]
const WIDEST_FUSED_NORM: usize = 0;

/// LayerNorm as the module computes it, by a kernel where there is one:
/// [`LayersBackend::norm`].
///
/// # Shapes
///
/// - x and output: `[.., D]`
///
/// # Panics
///
/// Panics if the width of `x` is not the module's.
pub(crate) fn layer_norm<const D: usize>(x: Tensor<D>, module: &LayerNorm) -> Tensor<D> {
    if !shader_layers(&x) || x.dims()[D - 1] > WIDEST_FUSED_NORM {
        return module.forward(x);
    }
    assert_eq!(
        x.dims()[D - 1],
        module.gamma.dims()[0],
        "the LayerNorm's width"
    );
    Tensor::from_dispatch(<Dispatch as LayersBackend>::norm(
        x.into_dispatch(),
        norm_layer(module),
    ))
}

/// The exact GELU with its exact gradient, in the way that suits the device: one shader, or
/// operations that Fusion joins with their neighbours.
///
/// # Shapes
///
/// Any; the output has the input's.
pub fn exact_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let gelu = match shader_layers(&x) {
        true => <Dispatch as LayersBackend>::gelu_pass,
        false => <Dispatch as LayersBackend>::exact_gelu,
    };
    Tensor::from_dispatch(gelu(x.into_dispatch()))
}

/// The module's parameters.
pub(in crate::ops) fn norm_layer(module: &LayerNorm) -> NormLayer<Dispatch> {
    let gamma = module.gamma.val();
    let beta = module.beta.as_ref().map(Param::val);
    let beta = beta.unwrap_or_else(|| Tensor::zeros(gamma.dims(), &gamma.device()));
    NormLayer {
        gamma: gamma.into_dispatch(),
        beta: beta.into_dispatch(),
    }
}
