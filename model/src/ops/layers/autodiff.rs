//! The rules that tie LayerNorm and GELU to Burn's autodiff.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{LayersBackend, NormLayer};
use crate::ops::autodiff::{register, retrieve};
use crate::ops::record::record;

impl<B: LayersBackend, C: CheckpointStrategy> LayersBackend for Autodiff<B, C> {
    fn norm(x: FloatTensor<Self>, layer: NormLayer<Self>) -> FloatTensor<Self> {
        let run = |[x, gamma, beta]: [FloatTensor<B>; 3]| B::norm(x, NormLayer { gamma, beta });
        record::<B, C, _, _>(NormRule, [x, layer.gamma, layer.beta], run, |nodes| nodes)
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let backward: Gelu<B> = B::exact_gelu_backward;
        let run = |[x]: [FloatTensor<B>; 1]| B::exact_gelu(x);
        record::<B, C, _, _>(GeluRule, [x], run, |nodes| (nodes, backward))
    }

    fn gelu_pass(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let backward: Gelu<B> = B::gelu_pass_backward;
        let run = |[x]: [FloatTensor<B>; 1]| B::gelu_pass(x);
        record::<B, C, _, _>(GeluRule, [x], run, |nodes| (nodes, backward))
    }

    // The backward operations of `Autodiff<B>` are the default bodies.
}

#[derive(Debug)]
struct NormRule;

impl<B: LayersBackend> Backward<B, 3> for NormRule {
    type State = [NodeId; 3];

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let [x, gamma, beta] = retrieve::<B, _>(checkpointer, ops.state);
        let layer = NormLayer { gamma, beta };
        let gradients = B::norm_backward(d_output, x, layer);
        let layer = gradients.layer;
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, [gradients.x, layer.gamma, layer.beta]);
    }
}

/// The backward pass of either GELU, given its output's gradient and its input.
type Gelu<B> = fn(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>;

#[derive(Debug)]
struct GeluRule;

impl<B: LayersBackend> Backward<B, 1> for GeluRule {
    type State = ([NodeId; 1], Gelu<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let (nodes, backward) = ops.state;
        let [x] = retrieve::<B, _>(checkpointer, nodes);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, [backward(d_output, x)]);
    }
}
