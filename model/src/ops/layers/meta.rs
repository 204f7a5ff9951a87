//! Shapes and types of outputs, which Fusion needs before it runs an operation.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::Shape;

use super::{EmbedGradientsMetadata, LayerNormGradientsMetadata, NormLayerMetadata};
use crate::ops::{Boundaries, OptionalTensorMetadata};

pub(super) fn norm(x: &TensorSpec, _layer: &NormLayerMetadata) -> TensorSpec {
    x.clone()
}

pub(super) fn norm_backward(
    _d_output: &TensorSpec,
    x: &TensorSpec,
    layer: &NormLayerMetadata,
    _added: &OptionalTensorMetadata,
) -> LayerNormGradientsMetadata {
    LayerNormGradientsMetadata {
        x: x.clone(),
        layer: layer.clone(),
    }
}

pub(super) fn embed(
    token: &TensorSpec,
    _position: &OptionalTensorMetadata,
    ids: &TensorSpec,
    _packed: &Option<Boundaries>,
) -> TensorSpec {
    let [b, n] = ids.shape.dims();
    TensorSpec::new(Shape::new([b, n, token.shape[1]]), token.dtype)
}

pub(super) fn embed_backward(
    _d_output: &TensorSpec,
    token: &TensorSpec,
    position: &OptionalTensorMetadata,
    _ids: &TensorSpec,
    _packed: &Option<Boundaries>,
) -> EmbedGradientsMetadata {
    EmbedGradientsMetadata {
        token: token.clone(),
        position: position.clone(),
    }
}

pub(super) fn linear_layer(
    x: &TensorSpec,
    weight: &TensorSpec,
    _bias: &OptionalTensorMetadata,
    _added: &OptionalTensorMetadata,
) -> TensorSpec {
    of_width(x, weight.shape[1])
}

pub(super) fn linear_layer_dx(
    d_output: &TensorSpec,
    weight: &TensorSpec,
    _added: &OptionalTensorMetadata,
) -> TensorSpec {
    of_width(d_output, weight.shape[0])
}

fn of_width(x: &TensorSpec, width: usize) -> TensorSpec {
    let mut shape = x.shape.clone();
    let last = shape.rank() - 1;
    shape[last] = width;
    TensorSpec::new(shape, x.dtype)
}

pub(super) fn linear_layer_backward(
    d_output: &TensorSpec,
    x: &TensorSpec,
) -> (TensorSpec, TensorSpec) {
    let width = |x: &TensorSpec| x.shape[x.shape.rank() - 1];
    let (inputs, outputs) = (width(x), width(d_output));
    let spec = |shape| TensorSpec::new(shape, x.dtype);
    (
        spec(Shape::new([inputs, outputs])),
        spec(Shape::new([outputs])),
    )
}
