//! LayerNorm, GELU, embeddings and linear layers over [`Tensor`] and Burn's modules.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::module::Param;
use burn::nn::{Dropout, LayerNorm, Linear};
use burn::tensor::{DType, Int, Tensor, assert_shape};

use super::{LayersBackend, NormLayer};
use crate::ops::fused::Fused;
use crate::ops::{Layout, OptionalTensor, PathKind, attention_path};
use crate::seed::drops;

/// Whether the layers are shaders' on this tensor's device.
pub(crate) fn shader_layers<const D: usize>(x: &Tensor<D>) -> bool {
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
    if !norm_is_kernels(&x, module) {
        return module.forward(x);
    }
    Tensor::from_dispatch(<Dispatch as LayersBackend>::norm(
        x.into_dispatch(),
        norm_layer(module),
    ))
}

/// [`layer_norm`], and `x` to go on with, whose gradient the LayerNorm's is then added to where a
/// kernel computes it.
///
/// # Panics
///
/// As [`layer_norm`].
pub(crate) fn layer_norm_through<const D: usize>(
    x: Tensor<D>,
    module: &LayerNorm,
) -> (Tensor<D>, Tensor<D>) {
    if !norm_is_kernels(&x, module) {
        return (module.forward(x.clone()), x);
    }
    let (y, x) = <Dispatch as LayersBackend>::norm_through(x.into_dispatch(), norm_layer(module));
    (Tensor::from_dispatch(y), Tensor::from_dispatch(x))
}

fn norm_is_kernels<const D: usize>(x: &Tensor<D>, module: &LayerNorm) -> bool {
    let width = x.dims()[D - 1];
    let shaders = shader_layers(x) && width <= WIDEST_FUSED_NORM;
    let kernels = shaders || Fused::of(x).is_some();
    assert!(
        !kernels || width == module.gamma.dims()[0],
        "the LayerNorm's width"
    );
    kernels
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

/// A linear layer as the module computes it, by kernels where there are some:
/// [`LayersBackend::linear_layer`].
///
/// # Shapes
///
/// - x: `[.., inputs]`
/// - output: `[.., outputs]`
///
/// # Panics
///
/// Panics if the width of `x` is not the module's.
pub(crate) fn linear<const D: usize>(x: Tensor<D>, module: &Linear) -> Tensor<D> {
    let Some((weight, bias)) = kernel_parameters(&x, module) else {
        return module.forward(x);
    };
    let none = OptionalTensor::None;
    Tensor::from_dispatch(<Dispatch as LayersBackend>::linear_layer(
        x.into_dispatch(),
        weight,
        bias,
        none,
    ))
}

/// `added + dropout(linear(x))`, in one pass where a kernel computes the layer and nothing is
/// dropped.
///
/// # Shapes
///
/// - x: `[.., inputs]`
/// - added and output: `[.., outputs]`
///
/// # Panics
///
/// Panics if the width of `x` is not the module's, or if the outputs' shape is not that of `added`.
pub(crate) fn linear_onto<const D: usize>(
    added: Tensor<D>,
    x: Tensor<D>,
    module: &Linear,
    dropout: &Dropout,
) -> Tensor<D> {
    match drops(dropout, &x.device()) {
        true => {
            check_added(&added, &x, module);
            dropout.forward(linear(x, module)) + added
        }
        false => linear_plus(added, x, module),
    }
}

/// Panics if the layer's outputs are not of the shape of `added`.
fn check_added<const D: usize>(added: &Tensor<D>, x: &Tensor<D>, module: &Linear) {
    let mut shape = x.dims();
    shape[D - 1] = module.weight.dims()[1];
    assert_eq!(shape, added.dims(), "the shape of what a layer is added to");
}

/// `added + linear(x)`, as [`linear_onto`] without dropout.
///
/// # Panics
///
/// As there.
pub(crate) fn linear_plus<const D: usize>(
    added: Tensor<D>,
    x: Tensor<D>,
    module: &Linear,
) -> Tensor<D> {
    check_added(&added, &x, module);
    let Some((weight, bias)) = kernel_parameters(&x, module) else {
        return module.forward(x) + added;
    };
    Tensor::from_dispatch(<Dispatch as LayersBackend>::linear_layer(
        x.into_dispatch(),
        weight,
        bias,
        OptionalTensor::Some(added.into_dispatch()),
    ))
}

/// [`linear`], and `x` for the next reader, as in [`layer_norm_through`].
///
/// # Panics
///
/// As [`linear`].
pub(crate) fn linear_through<const D: usize>(
    x: Tensor<D>,
    module: &Linear,
) -> (Tensor<D>, Tensor<D>) {
    let Some((weight, bias)) = kernel_parameters(&x, module) else {
        return (module.forward(x.clone()), x);
    };
    let (y, x) = <Dispatch as LayersBackend>::linear_through(x.into_dispatch(), weight, bias);
    (Tensor::from_dispatch(y), Tensor::from_dispatch(x))
}

/// Weight and bias of a layer that may be a kernel's: all in shaders; on CPUs, where those of few rows
/// are, layers without gradients.
fn kernel_parameters<const D: usize>(
    x: &Tensor<D>,
    module: &Linear,
) -> Option<(FloatTensor<Dispatch>, OptionalTensor<Dispatch>)> {
    let weight = module.weight.val();
    let differentiates = weight.is_autodiff() || x.is_autodiff();
    let on_cpu = || !differentiates && weight.dtype() == DType::F32 && Fused::of(x).is_some();
    if !shader_layers(x) && !on_cpu() {
        return None;
    }
    let [inputs, _] = weight.dims();
    assert_shape!(x, [.., inputs]);
    let bias = module.bias.as_ref().map(|bias| bias.val().into_dispatch());
    Some((weight.into_dispatch(), OptionalTensor::from_option(bias)))
}

/// Rows of a table by id: Burn's operation, and its gradient by a kernel where there is one.
///
/// # Shapes
///
/// - table: `[rows, D]`; ids: `[b, n]`
/// - output: `[b, n, D]`
pub(crate) fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    if !shader_layers(&table) {
        return burn::tensor::module::embedding(table, ids);
    }
    embed(table, None, ids, &Layout::Full)
}

/// Embeddings of tokens and their positions: [`LayersBackend::embed`].
///
/// # Shapes
///
/// - token: `[vocabulary, D]`; position: `[positions, D]`; ids: `[b, n]`
/// - output: `[b, n, D]`
///
/// # Panics
///
/// Panics if the shapes do not fit each other or the layout.
pub(crate) fn embed(
    token: Tensor<2>,
    position: Option<Tensor<2>>,
    ids: Tensor<2, Int>,
    layout: &Layout,
) -> Tensor<3> {
    let [_, width] = token.dims();
    if let Some(position) = &position {
        assert_shape!(position, [_, width]);
    }
    let [b, n] = ids.dims();
    layout.check(b, n);
    Tensor::from_dispatch(<Dispatch as LayersBackend>::embed(
        token.into_dispatch(),
        OptionalTensor::from_option(position.map(Tensor::into_dispatch)),
        ids.into_dispatch(),
        layout.boundaries().cloned(),
    ))
}

/// The module's parameters.
pub(crate) fn norm_layer(module: &LayerNorm) -> NormLayer<Dispatch> {
    let gamma = module.gamma.val();
    let beta = module.beta.as_ref().map(Param::val);
    let beta = beta.unwrap_or_else(|| Tensor::zeros(gamma.dims(), &gamma.device()));
    NormLayer {
        gamma: gamma.into_dispatch(),
        beta: beta.into_dispatch(),
    }
}
