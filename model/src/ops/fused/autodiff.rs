//! The rules that tie the layers to Burn's autodiff.

use burn::backend::Backend;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::cpu::{
    self, HEADS_OUTPUTS, Ids, after_attention_tensors, heads_tensors, heads_unnormed_tensors,
};
use super::{
    AfterAttention, AfterAttentionLayers, FusedBackend, HeadsLayers, HeadsLinear, HeadsOutput,
};
use crate::ops::cpu::CpuBackend;
use crate::ops::gate::record_outputs;
use crate::ops::record::{record, record_kept};
use crate::ops::{Boundaries, OptionalTensor};

impl<B: CpuBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    fn heads(x: FloatTensor<Self>, layers: HeadsLayers<Self>, heads: usize) -> HeadsOutput<Self> {
        recorded_heads::<B, C, _>(heads_tensors::<Self>(x, layers), heads)
    }

    fn heads_unnormed(
        x: FloatTensor<Self>,
        layers: HeadsLinear<Self>,
        heads: usize,
    ) -> HeadsOutput<Self> {
        recorded_heads::<B, C, _>(heads_unnormed_tensors::<Self>(x, layers), heads)
    }

    fn after_attention(
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        layers: AfterAttentionLayers<Self>,
        setting: AfterAttention,
    ) -> FloatTensor<Self> {
        record_kept::<B, C, _, _>(
            after_attention_tensors::<Self>(context, residual, layers),
            |inputs, recorded| {
                let (output, kept) = cpu::after_attention::<B>(inputs, setting, recorded);
                (output, (setting, kept))
            },
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
}

fn recorded_heads<B: CpuBackend, C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    heads: usize,
) -> HeadsOutput<Autodiff<B, C>> {
    let [
        query,
        key,
        value,
        scores,
        projected_key,
        projected_value,
        residual,
    ] = record_outputs::<B, C, _, N, HEADS_OUTPUTS>(
        inputs,
        heads,
        |inputs, heads| outputs::<B>(cpu::heads::<B, N>(inputs, heads)),
        |d_outputs, inputs, _| {
            cpu::heads_backward::<B, N>(d_outputs, inputs).map(OptionalTensor::Some)
        },
    );
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
