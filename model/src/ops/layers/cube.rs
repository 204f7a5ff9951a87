//! CubeCL runtimes: LayerNorm, GELU, embeddings and linear layers by WGSL shaders where the runtime
//! compiles them, the plain bodies elsewhere.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels_wgsl as wgsl;

use super::{EPSILON, EmbedGradients, LayerNormGradients, LayersBackend, NormLayer, plain};
use crate::ops::{Boundaries, OptionalTensor, path};

impl LayersBackend for CubeBackend {
    fn norm(x: FloatTensor<Self>, layer: NormLayer<Self>) -> FloatTensor<Self> {
        match fits(&x) && takes(&[&x, &layer.gamma, &layer.beta]) {
            true => wgsl::layer_norm(&x, &layer.gamma, &layer.beta, EPSILON as f32),
            false => plain::norm::<Self>(x, layer),
        }
    }

    fn norm_backward(
        d_output: FloatTensor<Self>,
        x: FloatTensor<Self>,
        layer: NormLayer<Self>,
        added: OptionalTensor<Self>,
    ) -> LayerNormGradients<Self> {
        if !fits(&x) || !takes_all([&x, &d_output, &layer.gamma], [&added]) {
            return plain::norm_backward::<Self>(d_output, x, layer, added);
        }
        let added = added.as_option();
        let (x, gamma, beta) =
            wgsl::layer_norm_backward(&d_output, &x, &layer.gamma, EPSILON as f32, added);
        LayerNormGradients {
            x,
            layer: NormLayer { gamma, beta },
        }
    }

    fn gelu_pass(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match takes(&[&x]) {
            true => wgsl::gelu(&x),
            false => Self::exact_gelu(x),
        }
    }

    fn gelu_pass_backward(d_output: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        match takes(&[&x, &d_output]) {
            true => wgsl::gelu_backward(&d_output, &x),
            false => Self::exact_gelu_backward(d_output, x),
        }
    }

    fn embed(
        token: FloatTensor<Self>,
        position: OptionalTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        match position.as_option() {
            Some(table) if takes(&[&token, table]) && takes_ids(&ids) => {
                wgsl::embed(&token, table, &ids, packed.as_ref())
            }
            _ => plain::embed::<Self>(token, position, ids, packed),
        }
    }

    fn embed_backward(
        d_output: FloatTensor<Self>,
        token: FloatTensor<Self>,
        position: OptionalTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> EmbedGradients<Self> {
        if !takes(&[&d_output]) || !takes_ids(&ids) {
            return plain::embed_backward::<Self>(d_output, token, position, ids, packed);
        }
        let rows = |table: &CubeTensor| table.shape()[0];
        let position = position.into_option();
        let position =
            position.map(|table| wgsl::sum_positions(&d_output, packed.as_ref(), rows(&table)));
        EmbedGradients {
            token: wgsl::embedding_backward(&d_output, &ids, rows(&token)),
            position: OptionalTensor::from_option(position),
        }
    }

    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        added: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        match takes_all([&x, &weight], [&bias, &added]) {
            true => wgsl::linear(&x, &weight, bias.as_option(), added.as_option()),
            false => plain::linear_layer::<Self>(x, weight, bias, added),
        }
    }

    fn linear_layer_dx(
        d_output: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        added: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        match takes_all([&d_output, &weight], [&added]) {
            true => wgsl::linear_dx(&d_output, &weight, added.as_option()),
            false => plain::linear_layer_dx::<Self>(d_output, weight, added),
        }
    }

    fn linear_layer_backward(
        d_output: FloatTensor<Self>,
        x: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match takes(&[&x, &d_output]) {
            true => wgsl::linear_backward(&x, &d_output),
            false => plain::linear_layer_backward::<Self>(d_output, x),
        }
    }
}

/// Whether the shaders take these ids.
fn takes_ids(ids: &CubeTensor) -> bool {
    wgsl::refusal_of_ids(ids).is_none()
}

/// Whether the shaders hold rows as wide as those of `x`.
fn fits(x: &CubeTensor) -> bool {
    let width = x.shape().iter().last().copied();
    width.is_some_and(|width| width <= wgsl::MAX_LAYER_WIDTH)
}

/// Whether the shaders take these tensors, and those that are given of others.
fn takes_all<const N: usize, const M: usize>(
    tensors: [&CubeTensor; N],
    others: [&OptionalTensor<CubeBackend>; M],
) -> bool {
    let mut all = tensors.to_vec();
    all.extend(others.into_iter().filter_map(OptionalTensor::as_option));
    takes(&all)
}

/// Whether the shaders take these tensors.
fn takes(tensors: &[&CubeTensor]) -> bool {
    !path::plain_is_asked_for() && wgsl::refusal(tensors, 0).is_none()
}
