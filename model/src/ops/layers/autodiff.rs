//! LayerNorm and GELU in the graph of Burn's autodiff.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;

use super::{LayersBackend, NormLayer};
use crate::ops::record::record;

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

    // The backward operations of `Autodiff<B>` are the default bodies.
}
