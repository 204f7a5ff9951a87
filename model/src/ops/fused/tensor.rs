//! The layers over [`Tensor`] and Burn's modules.

use burn::backend::Dispatch;
use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{DType, Int, Tensor, assert_shape};

use super::{AfterAttentionLayers, FusedBackend, HeadsLayers, LinearLayer};
use crate::ops::layers::norm_layer;
use crate::ops::{AttentionDropout, Layout, PathKind, attention_path};

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

    /// Queries, keys, values and landmark scores of every token: [`FusedBackend::heads`].
    ///
    /// # Shapes
    ///
    /// - x: `[b, n, D]`
    /// - output: as in [`Heads`]
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other.
    pub fn heads(self, x: Tensor<3>, modules: HeadsModules<'_>, heads: usize) -> Heads {
        let [b, n, width] = x.dims();
        let square = [width, width];
        for module in [modules.query, modules.key, modules.value] {
            assert_eq!(
                module.weight.dims(),
                square,
                "a linear layer of width {width}"
            );
        }
        let output = <Dispatch as FusedBackend>::heads(
            x.into_dispatch(),
            HeadsLayers {
                norm: norm_layer(modules.norm),
                query: linear(modules.query),
                key: linear(modules.key),
                value: linear(modules.value),
                window_norm: norm_layer(modules.window_norm),
                projection: linear(modules.projection),
            },
            heads,
        );
        let query = Tensor::from_dispatch(output.query);
        assert_shape!(query, [b, heads, n, _]);
        Heads {
            query,
            key: Tensor::from_dispatch(output.key),
            value: Tensor::from_dispatch(output.value),
            scores: Tensor::from_dispatch(output.scores),
            projected_key: Tensor::from_dispatch(output.projected_key),
            projected_value: Tensor::from_dispatch(output.projected_value),
            residual: Tensor::from_dispatch(output.residual),
        }
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
        modules: AfterAttentionModules<'_>,
        dropout: AttentionDropout,
    ) -> Tensor<3> {
        let [b, n, width] = residual.dims();
        assert_shape!(context, [b, n, width]);
        Tensor::from_dispatch(<Dispatch as FusedBackend>::after_attention(
            context.into_dispatch(),
            residual.into_dispatch(),
            AfterAttentionLayers {
                output: linear(modules.output),
                norm: norm_layer(modules.norm),
                ff_in: linear(modules.ff_in),
                ff_out: linear(modules.ff_out),
            },
            dropout,
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

    /// Class rows read the outputs of their documents: [`FusedBackend::class_row`].
    ///
    /// # Shapes
    ///
    /// - query, key, value, output: `[documents, h, 1, d]`; context: `[b, h, n, d]`
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other or the layout.
    pub fn class_row(
        self,
        query: Tensor<4>,
        key: Tensor<4>,
        value: Tensor<4>,
        context: Tensor<4>,
        layout: Layout,
    ) -> Tensor<4> {
        let [b, h, n, d] = context.dims();
        layout.check(b, n);
        let documents = layout.documents(b);
        for row in [&query, &key, &value] {
            assert_shape!(row, [documents, h, 1, d]);
        }
        Tensor::from_dispatch(<Dispatch as FusedBackend>::class_row(
            query.into_dispatch(),
            key.into_dispatch(),
            value.into_dispatch(),
            context.into_dispatch(),
            layout.into_dispatch(),
        ))
    }
}

/// The modules that [`Fused::heads`] computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadsModules<'a> {
    /// In front of all others.
    pub norm: &'a LayerNorm,
    /// `W_q`
    pub query: &'a Linear,
    /// `W_k`
    pub key: &'a Linear,
    /// `W_v`
    pub value: &'a Linear,
    /// `LN_win`
    pub window_norm: &'a LayerNorm,
    /// `W_p`
    pub projection: &'a Linear,
}

/// What [`Fused::heads`] gives; see [`HeadsOutput`](super::HeadsOutput).
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    /// `[b, h, n, d]`
    pub query: Tensor<4>,
    /// `[b, h, n, d]`, for `attend`
    pub key: Tensor<4>,
    /// `[b, h, n, d]`, for `attend`
    pub value: Tensor<4>,
    /// `[b, h, r, n]`
    pub scores: Tensor<4>,
    /// `[b, h, n, d]`, for `project`
    pub projected_key: Tensor<4>,
    /// `[b, h, n, d]`, for `project`
    pub projected_value: Tensor<4>,
    /// The input `[b, n, D]`, for the residual.
    pub residual: Tensor<3>,
}

/// The modules that [`Fused::after_attention`] computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AfterAttentionModules<'a> {
    /// `W_o`
    pub output: &'a Linear,
    /// In front of the feed-forward layers.
    pub norm: &'a LayerNorm,
    /// `D` → `d_ff`
    pub ff_in: &'a Linear,
    /// `d_ff` → `D`
    pub ff_out: &'a Linear,
}

fn linear(module: &Linear) -> LinearLayer<Dispatch> {
    let bias = module.bias.as_ref().map(Param::val);
    let weight = module.weight.val();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[1]], &weight.device()));
    LinearLayer {
        weight: weight.into_dispatch(),
        bias: bias.into_dispatch(),
    }
}
