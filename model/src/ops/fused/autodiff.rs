//! The rules that tie the layers to Burn's autodiff. `heads` has seven outputs, so it is a gate.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::cpu::{self, HEADS_INPUTS, HEADS_OUTPUTS, Ids, after_attention_tensors, heads_tensors};
use super::{AfterAttentionLayers, FusedBackend, HeadsLayers, HeadsOutput};
use crate::ops::autodiff::{inner_documents, register, retrieve};
use crate::ops::cpu::CpuBackend;
use crate::ops::gate::Gate;
use crate::ops::record::{record, record_with};
use crate::ops::{AttentionDropout, Boundaries, Documents};

impl<B: CpuBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    fn heads(x: FloatTensor<Self>, layers: HeadsLayers<Self>, heads: usize) -> HeadsOutput<Self> {
        let gate = Gate::<B, HEADS_OUTPUTS>::new();
        let (node, outputs) = record_with::<B, C, _, _, _>(
            HeadsRule,
            heads_tensors::<Self>(x, layers),
            |inputs| {
                let outputs = outputs::<B>(cpu::heads::<B>(inputs, heads));
                (Gate::<B, HEADS_OUTPUTS>::tensor(&outputs[0]), outputs)
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
            cpu::after_attention::<B>,
            cpu::after_attention_backward::<B>,
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
            cpu::class_row::<B>,
            cpu::class_row_backward::<B>,
        )
    }
}

#[derive(Debug)]
struct HeadsRule;

impl<B: CpuBackend> Backward<B, HEADS_INPUTS> for HeadsRule {
    type State = ([NodeId; HEADS_INPUTS], Gate<B, HEADS_OUTPUTS>);

    fn backward(
        self,
        ops: Ops<Self::State, HEADS_INPUTS>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let _ = grads.consume::<B>(&ops.node);
        let (inputs, gate) = ops.state;
        let inputs = retrieve::<B, _>(checkpointer, inputs);
        let gradients = cpu::heads_backward::<B>(gate.take(), inputs);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B, _>(grads, parents, gradients);
    }
}

fn outputs<B: Backend>(output: HeadsOutput<B>) -> [FloatTensor<B>; HEADS_OUTPUTS] {
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
