//! Shapes and types of outputs, which Fusion needs before it runs an operation.

use burn::backend::fusion::custom::TensorSpec;

use super::{LayerNormGradientsMetadata, NormLayerMetadata};

pub(super) fn norm(x: &TensorSpec, _layer: &NormLayerMetadata) -> TensorSpec {
    x.clone()
}

pub(super) fn norm_backward(
    _d_output: &TensorSpec,
    x: &TensorSpec,
    layer: &NormLayerMetadata,
) -> LayerNormGradientsMetadata {
    LayerNormGradientsMetadata {
        x: x.clone(),
        layer: layer.clone(),
    }
}
