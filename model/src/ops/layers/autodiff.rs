//! LayerNorm, GELU, embeddings and linear layers in the graph of Burn's autodiff.

use burn::backend::Backend;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{LayersBackend, NormLayer};
use crate::ops::gate::record_outputs;
use crate::ops::record::record;
use crate::ops::{Boundaries, OptionalTensor};

impl<B: LayersBackend, C: CheckpointStrategy> LayersBackend for Autodiff<B, C> {
    fn norm(x: FloatTensor<Self>, layer: NormLayer<Self>) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [x, layer.gamma, layer.beta],
            (),
            |[x, gamma, beta], ()| B::norm(x, NormLayer { gamma, beta }),
            |d_output, [x, gamma, beta], ()| {
                let layer = NormLayer { gamma, beta };
                let gradients = B::norm_backward(d_output, x, layer, OptionalTensor::None);
                [gradients.x, gradients.layer.gamma, gradients.layer.beta]
            },
        )
    }

    fn norm_through(
        x: FloatTensor<Self>,
        layer: NormLayer<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [output, x] = through::<B, C, 3>(
            [x, layer.gamma, layer.beta],
            |[x, gamma, beta]| B::norm_through(x, NormLayer { gamma, beta }).into(),
            |d_output, d_through, [x, gamma, beta]| {
                let layer = NormLayer { gamma, beta };
                let gradients = B::norm_backward(d_output, x, layer, d_through);
                [gradients.x, gradients.layer.gamma, gradients.layer.beta]
            },
        );
        (output, x)
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
        bias: OptionalTensor<Self>,
        added: OptionalTensor<Self>,
    ) -> FloatTensor<Self> {
        use OptionalTensor::{None, Some};
        match (bias, added) {
            (Some(bias), None) => record::<B, C, _, _>(
                [x, weight, bias],
                (),
                |[x, weight, bias], ()| B::linear_layer(x, weight, Some(bias), None),
                |d_output, [x, weight, _], ()| linear_gradients::<B>(d_output, None, x, weight),
            ),
            (Some(bias), Some(added)) => record::<B, C, _, _>(
                [x, weight, bias, added],
                (),
                |[x, weight, bias, added], ()| B::linear_layer(x, weight, Some(bias), Some(added)),
                |d_output, [x, weight, _, _], ()| {
                    let [x, weight, bias] =
                        linear_gradients::<B>(d_output.clone(), None, x, weight);
                    [x, weight, bias, d_output]
                },
            ),
            (None, None) => record::<B, C, _, _>(
                [x, weight],
                (),
                |[x, weight], ()| B::linear_layer(x, weight, None, None),
                |d_output, [x, weight], ()| {
                    let [x, weight, _] = linear_gradients::<B>(d_output, None, x, weight);
                    [x, weight]
                },
            ),
            (None, Some(added)) => record::<B, C, _, _>(
                [x, weight, added],
                (),
                |[x, weight, added], ()| B::linear_layer(x, weight, None, Some(added)),
                |d_output, [x, weight, _], ()| {
                    let [x, weight, _] = linear_gradients::<B>(d_output.clone(), None, x, weight);
                    [x, weight, d_output]
                },
            ),
        }
    }

    fn linear_through(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [output, x] = match bias {
            OptionalTensor::Some(bias) => through::<B, C, 3>(
                [x, weight, bias],
                |[x, weight, bias]| B::linear_through(x, weight, OptionalTensor::Some(bias)).into(),
                |d_output, d_through, [x, weight, _]| {
                    linear_gradients::<B>(d_output, d_through, x, weight)
                },
            ),
            OptionalTensor::None => through::<B, C, 2>(
                [x, weight],
                |[x, weight]| B::linear_through(x, weight, OptionalTensor::None).into(),
                |d_output, d_through, [x, weight]| {
                    let [x, weight, _] = linear_gradients::<B>(d_output, d_through, x, weight);
                    [x, weight]
                },
            ),
        };
        (output, x)
    }

    // The backward operations of `Autodiff<B>` are the default bodies.
}

/// Gradients of a linear layer for its input, added to another, its weight and its bias.
fn linear_gradients<B: LayersBackend>(
    d_output: FloatTensor<B>,
    added: OptionalTensor<B>,
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let d_x = B::linear_layer_dx(d_output.clone(), weight, added);
    let (d_weight, d_bias) = B::linear_layer_backward(d_output, x);
    [d_x, d_weight, d_bias]
}

/// The gradients of an operation's inputs, given that of its output, that of the first input where it
/// went through, and the inputs.
type ThroughPass<B, const N: usize> =
    fn(FloatTensor<B>, OptionalTensor<B>, [FloatTensor<B>; N]) -> [FloatTensor<B>; N];

/// Records an operation of a layer that hands its first input on, whose gradient then comes back
/// through here.
fn through<B: Backend, C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    run: fn([FloatTensor<B>; N]) -> [FloatTensor<B>; 2],
    backward: ThroughPass<B, N>,
) -> [FloatTensor<Autodiff<B, C>>; 2] {
    record_outputs::<B, C, _, N, 2>(
        inputs,
        backward,
        |inputs, _| run(inputs),
        |[d_output, d_through], inputs, backward| match d_output {
            OptionalTensor::Some(d_output) => {
                backward(d_output, d_through, inputs).map(OptionalTensor::Some)
            }
            // The layer's output was not read.
            OptionalTensor::None => {
                let mut gradients = std::array::from_fn(|_| OptionalTensor::None);
                gradients[0] = d_through;
                gradients
            }
        },
    )
}
