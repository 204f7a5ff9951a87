//! The layers over [`Tensor`] and Burn's modules.

use burn::backend::Dispatch;
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{DType, Int, Tensor, assert_shape};

use super::{
    AfterAttention, AfterAttentionLayers, FusedBackend, HeadsLayers, HeadsLinear, HeadsOutput,
    LinearLayer,
};
use crate::ops::{Layout, PathKind, attention_path};

/// Rows from which on it pays that one kernel computes several layers.
const ROWS: usize = 64;

/// The operations, which are there only where kernels compute them: elsewhere modules compose the
/// layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fused(());

impl Fused {
    /// The operations for tensors of this type on this tensor's device, if there are any.
    pub fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        let kernels = x.dtype() == DType::F32 && attention_path(&x.device()).kind == PathKind::Cpu;
        kernels.then_some(Self(()))
    }

    /// [`of`](Self::of) for so many rows that it pays: kernels of several layers arrange their weights
    /// first.
    pub fn of_many(x: &Tensor<3>) -> Option<Self> {
        let [b, n, _] = x.dims();
        Self::of(x).filter(|_| b * n >= ROWS)
    }

    /// Queries, keys, values and landmark scores of every token: [`FusedBackend::heads`].
    ///
    /// # Shapes
    ///
    /// - x: `[b, n, D]`
    /// - output: as in [`HeadsOutput`], for this many `heads`
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other.
    pub fn heads(
        self,
        x: Tensor<3>,
        layers: HeadsLayers<Dispatch>,
        heads: usize,
    ) -> HeadsOutput<Dispatch> {
        <Dispatch as FusedBackend>::heads(x.into_dispatch(), layers, heads)
    }

    /// [`heads`](Self::heads) without its LayerNorms: [`FusedBackend::heads_unnormed`].
    ///
    /// # Shapes
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other.
    pub fn heads_unnormed(
        self,
        x: Tensor<3>,
        layers: HeadsLinear<Dispatch>,
        heads: usize,
    ) -> HeadsOutput<Dispatch> {
        <Dispatch as FusedBackend>::heads_unnormed(x.into_dispatch(), layers, heads)
    }

    /// What follows attention in a block: [`FusedBackend::after_attention`].
    ///
    /// # Shapes
    ///
    /// - context, residual, output: `[b, n, D]`
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other.
    pub fn after_attention(
        self,
        context: Tensor<3>,
        residual: Tensor<3>,
        layers: AfterAttentionLayers<Dispatch>,
        setting: AfterAttention,
    ) -> Tensor<3> {
        let [b, n, width] = residual.dims();
        assert_shape!(context, [b, n, width]);
        Tensor::from_dispatch(<Dispatch as FusedBackend>::after_attention(
            context.into_dispatch(),
            residual.into_dispatch(),
            layers,
            setting,
        ))
    }

    /// Embeddings of tokens and their positions: [`FusedBackend::embed`].
    ///
    /// # Shapes
    ///
    /// - token: `[vocabulary, D]`; position: `[positions, D]`; ids: `[b, n]`
    /// - output: `[b, n, D]`
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other or the layout, or if an id or a position has no row.
    pub fn embed(
        self,
        token: Tensor<2>,
        position: Tensor<2>,
        ids: Tensor<2, Int>,
        layout: &Layout,
    ) -> Tensor<3> {
        let [_, width] = token.dims();
        assert_shape!(position, [_, width]);
        let [b, n] = ids.dims();
        layout.check(b, n);
        Tensor::from_dispatch(<Dispatch as FusedBackend>::embed(
            token.into_dispatch(),
            position.into_dispatch(),
            ids.into_dispatch(),
            layout.boundaries().cloned(),
        ))
    }
}

/// A linear layer's parameters.
pub(crate) fn linear_layer(module: &Linear) -> LinearLayer<Dispatch> {
    let bias = module.bias.as_ref().map(Param::val);
    let weight = module.weight.val();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[1]], &weight.device()));
    LinearLayer {
        weight: weight.into_dispatch(),
        bias: bias.into_dispatch(),
    }
}
