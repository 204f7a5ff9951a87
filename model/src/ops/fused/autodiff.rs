//! The rules that tie the layers to Burn's autodiff. `heads` has seven outputs, so it is a gate.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::cpu::{self, Ids};
use super::{AfterAttentionLayers, FusedBackend, HeadsLayers, HeadsOutput, LinearLayer};
use crate::ops::autodiff::{inner_documents, register, retrieve};
use crate::ops::cpu::CpuBackend;
use crate::ops::gate::Gate;
use crate::ops::layers::NormLayer;
use crate::ops::record::{record, record_with};
use crate::ops::{AttentionDropout, Boundaries, Documents};

/// Outputs of `heads`.
const OUTPUTS: usize = 7;

/// Inputs of `heads`: x and the parameters, in the order of [`heads_tensors`].
const HEADS_INPUTS: usize = 13;

/// Inputs of `after_attention`, in the order of [`after_attention_tensors`].
const AFTER_ATTENTION_INPUTS: usize = 10;

impl<B: CpuBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    fn heads(x: FloatTensor<Self>, layers: HeadsLayers<Self>, heads: usize) -> HeadsOutput<Self> {
        let gate = Gate::<B, OUTPUTS>::new();
        let (node, outputs) = record_with::<B, C, _, _, _>(
            HeadsRule,
            heads_tensors::<Self>(x, layers),
            |inputs| {
                let (x, layers) = heads_layers::<B>(inputs);
                let outputs = outputs::<B>(B::heads(x, layers, heads));
                (Gate::<B, OUTPUTS>::tensor(&outputs[0]), outputs)
            },
            |inputs, _, _| (inputs, gate.clone()),
        );
        let [
            query,
            key,
            value,
            scores,
            projected_key,
            projected_value,
            residual,
        ] = gate.outputs::<C>(&node, outputs);
        HeadsOutput {
            query,
            key,
            value,
            scores,
            projected_key,
            projected_value,
            residual,
        }
    }

    fn after_attention(
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        layers: AfterAttentionLayers<Self>,
        dropout: AttentionDropout,
    ) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            after_attention_tensors::<Self>(context, residual, layers),
            dropout,
            |inputs, dropout| {
                let (context, residual, layers) = after_attention_layers::<B>(inputs);
                B::after_attention(context, residual, layers, dropout)
            },
            |d_output, inputs, dropout| {
                let (context, residual, layers) = after_attention_layers::<B>(inputs);
                let (context, residual, layers) = cpu::after_attention_backward::<B>(
                    d_output, context, residual, layers, dropout,
                );
                after_attention_tensors::<B>(context, residual, layers)
            },
        )
    }

    fn embed(
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [token, position],
            Ids::new::<B>(ids, packed),
            cpu::embed::<B>,
            cpu::embed_backward::<B>,
        )
    }

    fn class_row(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [query, key, value, context],
            inner_documents::<B, C>(documents),
            |[query, key, value, context], documents| {
                B::class_row(query, key, value, context, documents)
            },
            cpu::class_row_backward::<B>,
        )
    }
}

#[derive(Debug)]
struct HeadsRule;

impl<B: CpuBackend> Backward<B, HEADS_INPUTS> for HeadsRule {
    type State = ([NodeId; HEADS_INPUTS], Gate<B, OUTPUTS>);

    fn backward(
        self,
        ops: Ops<Self::State, HEADS_INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let _ = grads.consume::<B>(&ops.node);
        let (inputs, gate) = ops.state;
        let inputs = retrieve::<B, _>(checkpointer, inputs);
        let (x, layers) = heads_layers::<B>(inputs);
        let (x, layers) = cpu::heads_backward::<B>(gate.take(), x, layers);
        let gradients = heads_tensors::<B>(x, layers);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, gradients);
    }
}

fn outputs<B: Backend>(output: HeadsOutput<B>) -> [FloatTensor<B>; OUTPUTS] {
    [
        output.query,
        output.key,
        output.value,
        output.scores,
        output.projected_key,
        output.projected_value,
        output.residual,
    ]
}

fn heads_tensors<B: Backend>(
    x: FloatTensor<B>,
    layers: HeadsLayers<B>,
) -> [FloatTensor<B>; HEADS_INPUTS] {
    [
        x,
        layers.norm.gamma,
        layers.norm.beta,
        layers.query.weight,
        layers.query.bias,
        layers.key.weight,
        layers.key.bias,
        layers.value.weight,
        layers.value.bias,
        layers.window_norm.gamma,
        layers.window_norm.beta,
        layers.projection.weight,
        layers.projection.bias,
    ]
}

/// The inverse of [`heads_tensors`].
fn heads_layers<B: Backend>(
    tensors: [FloatTensor<B>; HEADS_INPUTS],
) -> (FloatTensor<B>, HeadsLayers<B>) {
    let [x, a, b, c, d, e, f, g, h, i, j, k, l] = tensors;
    let norm = |gamma, beta| NormLayer { gamma, beta };
    let linear = |weight, bias| LinearLayer { weight, bias };
    let layers = HeadsLayers {
        norm: norm(a, b),
        query: linear(c, d),
        key: linear(e, f),
        value: linear(g, h),
        window_norm: norm(i, j),
        projection: linear(k, l),
    };
    (x, layers)
}

fn after_attention_tensors<B: Backend>(
    context: FloatTensor<B>,
    residual: FloatTensor<B>,
    layers: AfterAttentionLayers<B>,
) -> [FloatTensor<B>; AFTER_ATTENTION_INPUTS] {
    [
        context,
        residual,
        layers.output.weight,
        layers.output.bias,
        layers.norm.gamma,
        layers.norm.beta,
        layers.ff_in.weight,
        layers.ff_in.bias,
        layers.ff_out.weight,
        layers.ff_out.bias,
    ]
}

/// The inverse of [`after_attention_tensors`].
fn after_attention_layers<B: Backend>(
    tensors: [FloatTensor<B>; AFTER_ATTENTION_INPUTS],
) -> (FloatTensor<B>, FloatTensor<B>, AfterAttentionLayers<B>) {
    let [context, residual, a, b, c, d, e, f, g, h] = tensors;
    let linear = |weight, bias| LinearLayer { weight, bias };
    let layers = AfterAttentionLayers {
        output: linear(a, b),
        norm: NormLayer { gamma: c, beta: d },
        ff_in: linear(e, f),
        ff_out: linear(g, h),
    };
    (context, residual, layers)
}
