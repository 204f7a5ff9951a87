//! The rules that tie the layers to Burn's autodiff. `heads` has seven outputs, so it is a gate.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{
    AfterAttentionLayers, HeadsLayers, HeadsOutput, HeadsOutputGradients, LayersBackend,
    LinearLayer, NormLayer,
};
use crate::ops::autodiff::{inner_documents, register, retrieve};
use crate::ops::gate::Gate;
use crate::ops::record::{record, record_with};
use crate::ops::{AttentionDropout, Boundaries, Documents};

/// Outputs of `heads`.
const OUTPUTS: usize = 7;

/// Inputs of `heads`: x and the parameters, in the order of [`heads_tensors`].
const HEADS_INPUTS: usize = 13;

/// Inputs of `after_attention`, in the order of [`after_attention_tensors`].
const AFTER_ATTENTION_INPUTS: usize = 10;

impl<B: LayersBackend, C: CheckpointStrategy> LayersBackend for Autodiff<B, C> {
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
            |inputs, _, _| HeadsSaved {
                inputs,
                gate: gate.clone(),
            },
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
        let run = |inputs: [FloatTensor<B>; AFTER_ATTENTION_INPUTS]| {
            let (context, residual, layers) = after_attention_layers::<B>(inputs);
            B::after_attention(context, residual, layers, dropout)
        };
        let inputs = after_attention_tensors::<Self>(context, residual, layers);
        record::<B, C, _, _>(AfterAttentionRule, inputs, run, |nodes| (nodes, dropout))
    }

    fn embed(
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        let run = |[token, position]: [FloatTensor<B>; 2]| {
            B::embed(token, position, ids.clone(), packed.clone())
        };
        record::<B, C, _, _>(EmbedRule, [token, position], run, |tables| EmbedSaved {
            tables,
            ids: ids.clone(),
            packed: packed.clone(),
        })
    }

    fn class_row(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> FloatTensor<Self> {
        let documents = inner_documents::<B, C>(documents);
        let inputs = [query, key, value, context];
        let run = |[query, key, value, context]: [FloatTensor<B>; 4]| {
            B::class_row(query, key, value, context, documents.clone())
        };
        record::<B, C, _, _>(ClassRowRule, inputs, run, |inputs| ClassRowSaved {
            inputs,
            documents: documents.clone(),
        })
    }

    fn norm(x: FloatTensor<Self>, layer: NormLayer<Self>) -> FloatTensor<Self> {
        let run = |[x, gain, offset]: [FloatTensor<B>; 3]| B::norm(x, NormLayer { gain, offset });
        record::<B, C, _, _>(NormRule, [x, layer.gain, layer.offset], run, |nodes| nodes)
    }

    fn activate(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let run = |[x]: [FloatTensor<B>; 1]| B::activate(x);
        record::<B, C, _, _>(ActivateRule, [x], run, |[x]| x)
    }

    // The backward operations of `Autodiff<B>` are the default bodies.
}

#[derive(Debug)]
struct HeadsRule;

#[derive(Clone, Debug)]
struct HeadsSaved<B: Backend> {
    inputs: [NodeId; HEADS_INPUTS],
    gate: Gate<B, OUTPUTS>,
}

impl<B: LayersBackend> Backward<B, HEADS_INPUTS> for HeadsRule {
    type State = HeadsSaved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, HEADS_INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let _ = grads.consume::<B>(&ops.node);
        let HeadsSaved { inputs, gate } = ops.state;
        let inputs = retrieve::<B, _>(checkpointer, inputs);
        let (x, layers) = heads_layers::<B>(inputs);
        let [
            query,
            key,
            value,
            scores,
            projected_key,
            projected_value,
            residual,
        ] = gate.take();
        let d_output = HeadsOutputGradients {
            query,
            key,
            value,
            scores,
            projected_key,
            projected_value,
            residual,
        };
        let gradients = B::heads_backward(d_output, x, layers);
        let gradients = heads_tensors::<B>(gradients.x, gradients.layers);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, gradients);
    }
}

#[derive(Debug)]
struct AfterAttentionRule;

impl<B: LayersBackend> Backward<B, AFTER_ATTENTION_INPUTS> for AfterAttentionRule {
    type State = ([NodeId; AFTER_ATTENTION_INPUTS], AttentionDropout);

    fn backward(
        self,
        ops: Ops<Self::State, AFTER_ATTENTION_INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let (inputs, dropout) = ops.state;
        let inputs = retrieve::<B, _>(checkpointer, inputs);
        let (context, residual, layers) = after_attention_layers::<B>(inputs);
        let gradients = B::after_attention_backward(d_output, context, residual, layers, dropout);
        let gradients =
            after_attention_tensors::<B>(gradients.context, gradients.residual, gradients.layers);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, gradients);
    }
}

#[derive(Debug)]
struct EmbedRule;

#[derive(Clone, Debug)]
struct EmbedSaved<B: Backend> {
    tables: [NodeId; 2],
    ids: IntTensor<B>,
    packed: Option<Boundaries>,
}

impl<B: LayersBackend> Backward<B, 2> for EmbedRule {
    type State = EmbedSaved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let [token, position] = retrieve::<B, _>(checkpointer, saved.tables);
        let gradients = B::embed_backward(d_output, token, position, saved.ids, saved.packed);
        let gradients = [gradients.token, gradients.position];
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, gradients);
    }
}

#[derive(Debug)]
struct ClassRowRule;

#[derive(Clone, Debug)]
struct ClassRowSaved<B: Backend> {
    inputs: [NodeId; 4],
    documents: Documents<B>,
}

impl<B: LayersBackend> Backward<B, 4> for ClassRowRule {
    type State = ClassRowSaved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 4>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let [query, key, value, context] = retrieve::<B, _>(checkpointer, saved.inputs);
        let gradients =
            B::class_row_backward(d_output, query, key, value, context, saved.documents);
        let gradients = [
            gradients.query,
            gradients.key,
            gradients.value,
            gradients.context,
        ];
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, gradients);
    }
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
        let [x, gain, offset] = retrieve::<B, _>(checkpointer, ops.state);
        let layer = NormLayer { gain, offset };
        let gradients = B::norm_backward(d_output, x, layer);
        let layer = gradients.layer;
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, [gradients.x, layer.gain, layer.offset]);
    }
}

#[derive(Debug)]
struct ActivateRule;

impl<B: LayersBackend> Backward<B, 1> for ActivateRule {
    type State = NodeId;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let d_output = grads.consume::<B>(&ops.node);
        let [x] = retrieve::<B, _>(checkpointer, [ops.state]);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, [B::activate_backward(d_output, x)]);
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
        layers.norm.gain,
        layers.norm.offset,
        layers.query.weight,
        layers.query.bias,
        layers.key.weight,
        layers.key.bias,
        layers.value.weight,
        layers.value.bias,
        layers.window_norm.gain,
        layers.window_norm.offset,
        layers.projection.weight,
        layers.projection.bias,
    ]
}

/// The inverse of [`heads_tensors`].
fn heads_layers<B: Backend>(
    tensors: [FloatTensor<B>; HEADS_INPUTS],
) -> (FloatTensor<B>, HeadsLayers<B>) {
    let [x, a, b, c, d, e, f, g, h, i, j, k, l] = tensors;
    let norm = |gain, offset| NormLayer { gain, offset };
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
        layers.norm.gain,
        layers.norm.offset,
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
        norm: NormLayer { gain: c, offset: d },
        ff_in: linear(e, f),
        ff_out: linear(g, h),
    };
    (context, residual, layers)
}
