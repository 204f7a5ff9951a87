//! LayerNorm, GELU, embeddings and linear layers in the graph of Burn's autodiff.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{LayersBackend, NormLayer};
use crate::ops::record::record;
use crate::ops::{Boundaries, OptionalTensor};

impl<B: LayersBackend, C: CheckpointStrategy> LayersBackend for Autodiff<B, C> {
    fn norm(x: FloatTensor<Self>, layer: NormLayer<Self>) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [x, layer.gamma, layer.beta],
            (),
            |[x, gamma, beta], ()| B::norm(x, NormLayer { gamma, beta }),
            |d_output, [x, gamma, beta], ()| {
                let gradients = B::norm_backward(d_output, x, NormLayer { gamma, beta });
                [gradients.x, gradients.layer.gamma, gradients.layer.beta]
            },
        )
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [x],
            (),
            |[x], ()| B::exact_gelu(x),
            |d_output, [x], ()| [B::exact_gelu_backward(d_output, x)],
        )
    }

    fn gelu_pass(x: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [x],
            (),
            |[x], ()| B::gelu_pass(x),
            |d_output, [x], ()| [B::gelu_pass_backward(d_output, x)],
        )
    }

    fn embed(
        token: FloatTensor<Self>,
        position: OptionalTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        match position {
            OptionalTensor::None => record::<B, C, _, _>(
                [token],
                (ids, packed),
                |[token], (ids, packed)| B::embed(token, OptionalTensor::None, ids, packed),
                |d_output, [token], (ids, packed)| {
                    let none = OptionalTensor::None;
                    [B::embed_backward(d_output, token, none, ids, packed).token]
                },
            ),
            OptionalTensor::Some(position) => record::<B, C, _, _>(
                [token, position],
                (ids, packed),
                |[token, position], (ids, packed)| {
                    B::embed(token, OptionalTensor::Some(position), ids, packed)
                },
                |d_output, [token, position], (ids, packed)| {
                    let position = OptionalTensor::Some(position);
                    let gradients = B::embed_backward(d_output, token, position, ids, packed);
                    let position = gradients.position.into_option();
                    [gradients.token, position.expect("as an input was given")]
                },
            ),
        }
    }

    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [x, weight, bias],
            (),
            |[x, weight, bias], ()| B::linear_layer(x, weight, bias),
            |d_output, [x, weight, _], ()| {
                let d_x = B::linear_layer_dx(d_output.clone(), weight);
                let (d_weight, d_bias) = B::linear_layer_backward(d_output, x);
                [d_x, d_weight, d_bias]
            },
        )
    }

    // The backward operations of `Autodiff<B>` are the default bodies.
}
