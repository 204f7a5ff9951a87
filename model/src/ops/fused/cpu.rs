//! The CPU kernels of the layers over the float32 tensors of Flex and NdArray.

use std::sync::Arc;

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use transformer_ls_kernels_cpu as kernels;

use super::{AfterAttentionLayers, FusedBackend, HeadsLayers, HeadsOutput, LinearLayer};
use crate::ops::cpu::{CpuBackend, HostDocuments, Output, Unwritten};
use crate::ops::layers::{EPSILON, NormLayer};
use crate::ops::{AttentionDropout, Boundaries, Documents, OptionalTensor};

/// Contiguous tensors of a linear layer.
struct Linear<B: CpuBackend>(FloatTensor<B>, FloatTensor<B>);

impl<B: CpuBackend> Linear<B> {
    fn new(layer: LinearLayer<B>) -> Self {
        Self(B::contiguous(layer.weight), B::contiguous(layer.bias))
    }

    fn as_kernel(&self) -> kernels::Linear<'_, f32> {
        kernels::Linear {
            weight: B::slice(&self.0),
            bias: B::slice(&self.1),
        }
    }

    fn unwritten(&self) -> (Unwritten, Unwritten) {
        (
            Unwritten::new(self.0.shape().as_slice()),
            Unwritten::new(self.1.shape().as_slice()),
        )
    }
}

fn linear_gradients(
    (weight, bias): &mut (Unwritten, Unwritten),
) -> kernels::LinearGradients<'_, f32> {
    kernels::LinearGradients {
        weight: weight.slice(),
        bias: bias.slice(),
    }
}

fn finish_linear<B: CpuBackend>((weight, bias): (Unwritten, Unwritten)) -> LinearLayer<B> {
    LinearLayer {
        weight: weight.finish::<B>(),
        bias: bias.finish::<B>(),
    }
}

/// Contiguous tensors of a LayerNorm.
struct Norm<B: CpuBackend>(FloatTensor<B>, FloatTensor<B>);

impl<B: CpuBackend> Norm<B> {
    fn new(layer: NormLayer<B>) -> Self {
        Self(B::contiguous(layer.gamma), B::contiguous(layer.beta))
    }

    fn as_kernel(&self) -> kernels::Norm<'_, f32> {
        kernels::Norm {
            gamma: B::slice(&self.0),
            beta: B::slice(&self.1),
            epsilon: EPSILON,
        }
    }

    fn unwritten(&self) -> (Unwritten, Unwritten) {
        (
            Unwritten::new(self.0.shape().as_slice()),
            Unwritten::new(self.1.shape().as_slice()),
        )
    }
}

fn norm_gradients((gamma, beta): &mut (Unwritten, Unwritten)) -> kernels::NormGradients<'_, f32> {
    kernels::NormGradients {
        gamma: gamma.slice(),
        beta: beta.slice(),
    }
}

fn finish_norm<B: CpuBackend>((gamma, beta): (Unwritten, Unwritten)) -> NormLayer<B> {
    NormLayer {
        gamma: gamma.finish::<B>(),
        beta: beta.finish::<B>(),
    }
}

/// The inputs of `heads`, ready for the kernels.
struct Heads<B: CpuBackend> {
    x: FloatTensor<B>,
    norm: Norm<B>,
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    window_norm: Norm<B>,
    projection: Linear<B>,
}

impl<B: CpuBackend> Heads<B> {
    fn new(x: FloatTensor<B>, layers: HeadsLayers<B>) -> Self {
        Self {
            x: B::contiguous(x),
            norm: Norm::new(layers.norm),
            query: Linear::new(layers.query),
            key: Linear::new(layers.key),
            value: Linear::new(layers.value),
            window_norm: Norm::new(layers.window_norm),
            projection: Linear::new(layers.projection),
        }
    }

    fn as_kernel(&self) -> kernels::Heads<'_, f32> {
        kernels::Heads {
            x: B::slice(&self.x),
            norm: self.norm.as_kernel(),
            query: self.query.as_kernel(),
            key: self.key.as_kernel(),
            value: self.value.as_kernel(),
            window_norm: self.window_norm.as_kernel(),
            projection: Some(self.projection.as_kernel()),
        }
    }
}

/// Gradients of [`FusedBackend::heads`]'s input and layers, given those of its outputs in the order
/// of [`HeadsOutput`].
pub(super) fn heads_backward<B: CpuBackend>(
    d_output: [OptionalTensor<B>; 7],
    x: FloatTensor<B>,
    layers: HeadsLayers<B>,
) -> (FloatTensor<B>, HeadsLayers<B>) {
    let inputs = Heads::<B>::new(x, layers);
    // Memory `[b, n, h, ·]`, as the kernels of attention write it: no copy is made.
    let rows = |gradient: OptionalTensor<B>, axes: [usize; 4]| {
        let gradient = gradient.into_option();
        gradient.map(|d| B::contiguous(B::float_permute(d, &axes)))
    };
    let tokens = [0, 2, 1, 3];
    let [
        query,
        key,
        value,
        scores,
        projected_key,
        projected_value,
        residual,
    ] = d_output;
    let given = [
        rows(query, tokens),
        rows(key, tokens),
        rows(projected_key, tokens),
        rows(value, tokens),
        rows(projected_value, tokens),
        rows(scores, [0, 3, 1, 2]),
        residual.into_option().map(B::contiguous),
    ];
    let list = |which: std::ops::Range<usize>| {
        let present = given[which].iter().flatten();
        present.map(|tensor| B::slice(tensor)).collect()
    };
    let d_output = kernels::HeadsOutputGradients {
        query: list(0..1),
        key: list(1..3),
        value: list(3..5),
        scores: list(5..6),
        x: list(6..7),
    };
    let mut d_x = Unwritten::new(inputs.x.shape().as_slice());
    let mut norm = inputs.norm.unwritten();
    let mut query = inputs.query.unwritten();
    let mut key = inputs.key.unwritten();
    let mut value = inputs.value.unwritten();
    let mut window_norm = inputs.window_norm.unwritten();
    let mut projection = inputs.projection.unwritten();
    kernels::heads_backward(
        &inputs.as_kernel(),
        &d_output,
        &mut kernels::HeadsGradients {
            x: d_x.slice(),
            norm: norm_gradients(&mut norm),
            query: linear_gradients(&mut query),
            key: linear_gradients(&mut key),
            value: linear_gradients(&mut value),
            projection: Some(linear_gradients(&mut projection)),
            window_norm: norm_gradients(&mut window_norm),
        },
    );
    let layers = HeadsLayers {
        norm: finish_norm::<B>(norm),
        query: finish_linear::<B>(query),
        key: finish_linear::<B>(key),
        value: finish_linear::<B>(value),
        window_norm: finish_norm::<B>(window_norm),
        projection: finish_linear::<B>(projection),
    };
    (d_x.finish::<B>(), layers)
}

/// The inputs of `after_attention`, ready for the kernels.
struct AfterAttention<B: CpuBackend> {
    context: FloatTensor<B>,
    residual: FloatTensor<B>,
    output: Linear<B>,
    norm: Norm<B>,
    ff_in: Linear<B>,
    ff_out: Linear<B>,
    dropout: AttentionDropout,
}

impl<B: CpuBackend> AfterAttention<B> {
    fn new(
        context: FloatTensor<B>,
        residual: FloatTensor<B>,
        layers: AfterAttentionLayers<B>,
        dropout: AttentionDropout,
    ) -> Self {
        Self {
            context: B::contiguous(context),
            residual: B::contiguous(residual),
            output: Linear::new(layers.output),
            norm: Norm::new(layers.norm),
            ff_in: Linear::new(layers.ff_in),
            ff_out: Linear::new(layers.ff_out),
            dropout,
        }
    }

    fn as_kernel(&self) -> kernels::AfterAttention<'_, f32> {
        kernels::AfterAttention {
            context: B::slice(&self.context),
            residual: B::slice(&self.residual),
            output: self.output.as_kernel(),
            norm: self.norm.as_kernel(),
            ff_in: self.ff_in.as_kernel(),
            ff_out: self.ff_out.as_kernel(),
            dropout: self.dropout,
        }
    }
}

/// Gradients of [`FusedBackend::after_attention`]'s context, residual and layers.
pub(super) fn after_attention_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    context: FloatTensor<B>,
    residual: FloatTensor<B>,
    layers: AfterAttentionLayers<B>,
    dropout: AttentionDropout,
) -> (FloatTensor<B>, FloatTensor<B>, AfterAttentionLayers<B>) {
    let inputs = AfterAttention::<B>::new(context, residual, layers, dropout);
    let d_output = B::contiguous(d_output);
    let rows = || Unwritten::new(inputs.residual.shape().as_slice());
    let (mut d_context, mut d_residual) = (rows(), rows());
    let mut output = inputs.output.unwritten();
    let mut norm = inputs.norm.unwritten();
    let mut ff_in = inputs.ff_in.unwritten();
    let mut ff_out = inputs.ff_out.unwritten();
    kernels::after_attention_backward(
        &inputs.as_kernel(),
        B::slice(&d_output),
        &mut kernels::AfterAttentionGradients {
            context: d_context.slice(),
            residual: d_residual.slice(),
            output: linear_gradients(&mut output),
            norm: norm_gradients(&mut norm),
            ff_in: linear_gradients(&mut ff_in),
            ff_out: linear_gradients(&mut ff_out),
        },
    );
    let layers = AfterAttentionLayers {
        output: finish_linear::<B>(output),
        norm: finish_norm::<B>(norm),
        ff_in: finish_linear::<B>(ff_in),
        ff_out: finish_linear::<B>(ff_out),
    };
    (d_context.finish::<B>(), d_residual.finish::<B>(), layers)
}

/// The inputs of `embed`, ready for the kernels.
struct Embed<B: CpuBackend> {
    token: FloatTensor<B>,
    position: FloatTensor<B>,
    ids: Ids,
}

/// Token ids on the host, and the documents of a packed batch.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    ids: Arc<[u32]>,
    /// `[b, n]`
    shape: [usize; 2],
    packed: Option<Boundaries>,
}

impl Ids {
    pub(super) fn new<B: CpuBackend>(ids: IntTensor<B>, packed: Option<Boundaries>) -> Self {
        Self {
            shape: ids.shape().dims(),
            ids: B::ids(ids).into(),
            packed,
        }
    }
}

impl<B: CpuBackend> Embed<B> {
    fn new([token, position]: [FloatTensor<B>; 2], ids: Ids) -> Self {
        Self {
            token: B::contiguous(token),
            position: B::contiguous(position),
            ids,
        }
    }

    fn width(&self) -> usize {
        let [_, width] = self.token.shape().dims();
        width
    }

    fn as_kernel(&self) -> kernels::Embed<'_, f32> {
        kernels::Embed {
            token: B::slice(&self.token),
            position: B::slice(&self.position),
            width: self.width(),
            ids: &self.ids.ids,
            documents: match &self.ids.packed {
                Some(boundaries) => kernels::Documents::Packed(boundaries),
                None => kernels::Documents::Rows { mask: None },
            },
            batch: self.ids.shape[0],
        }
    }
}

/// [`FusedBackend::embed`] of the tables of tokens and of positions.
pub(super) fn embed<B: CpuBackend>(tables: [FloatTensor<B>; 2], ids: Ids) -> FloatTensor<B> {
    let inputs = Embed::<B>::new(tables, ids);
    let [b, n] = inputs.ids.shape;
    let mut output = Unwritten::new(&[b, n, inputs.width()]);
    kernels::embed(&inputs.as_kernel(), output.slice());
    output.finish::<B>()
}

/// Gradients of both tables.
pub(super) fn embed_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    tables: [FloatTensor<B>; 2],
    ids: Ids,
) -> [FloatTensor<B>; 2] {
    let d_output = B::contiguous(d_output);
    let inputs = Embed::<B>::new(tables, ids);
    let mut d_token = Unwritten::new(inputs.token.shape().as_slice());
    let mut d_position = Unwritten::new(inputs.position.shape().as_slice());
    kernels::embed_backward(
        &inputs.as_kernel(),
        B::slice(&d_output),
        [d_token.slice(), d_position.slice()],
    );
    [d_token.finish::<B>(), d_position.finish::<B>()]
}

/// The inputs of `class_row`, ready for the kernels.
struct ClassRow<B: CpuBackend> {
    rows: [FloatTensor<B>; 3],
    context: FloatTensor<B>,
    documents: HostDocuments<B>,
}

impl<B: CpuBackend> ClassRow<B> {
    fn new(rows: [FloatTensor<B>; 3], context: FloatTensor<B>, documents: Documents<B>) -> Self {
        Self {
            rows: rows.map(|row| B::ready(row, false)),
            context: B::ready(context, false),
            documents: HostDocuments::new(documents),
        }
    }

    fn as_kernel(&self) -> kernels::ClassRow<'_, f32> {
        let [query, key, value] = self.rows.each_ref().map(|row| B::view(row));
        kernels::ClassRow {
            query,
            key,
            value,
            context: B::view(&self.context),
            documents: self.documents.as_kernel(),
        }
    }
}

/// Gradients of [`FusedBackend::class_row`]'s query, key, value and context.
pub(super) fn class_row_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    [query, key, value, context]: [FloatTensor<B>; 4],
    documents: Documents<B>,
) -> [FloatTensor<B>; 4] {
    let d_output = B::ready(d_output, false);
    let inputs = ClassRow::<B>::new([query, key, value], context, documents);
    let inputs = inputs.as_kernel();
    let row = || Output::contiguous(inputs.query.shape());
    let (mut query, mut key, mut value) = (row(), row(), row());
    let mut context = Output::tokens(inputs.context.shape());
    kernels::class_row_backward(
        &inputs,
        B::view(&d_output),
        &mut kernels::ClassRowGradients {
            query: query.view(),
            key: key.view(),
            value: value.view(),
            context: context.view(),
        },
    );
    [query, key, value, context].map(Output::finish::<B>)
}

impl<B: CpuBackend> FusedBackend for B {
    fn heads(x: FloatTensor<Self>, layers: HeadsLayers<Self>, heads: usize) -> HeadsOutput<Self> {
        let inputs = Heads::<Self>::new(x, layers);
        let [b, n, width] = inputs.x.shape().dims();
        let [scores] = inputs.projection.1.shape().dims();
        let tokens = || Unwritten::new(&[b, n, heads, width / heads]);
        let (mut query, mut key, mut value) = (tokens(), tokens(), tokens());
        let mut scores = Unwritten::new(&[b, n, heads, scores / heads]);
        kernels::heads(
            &inputs.as_kernel(),
            &mut kernels::HeadsOutput {
                query: query.slice(),
                key: key.slice(),
                value: value.slice(),
                scores: scores.slice(),
            },
        );
        let split = |rows: Unwritten| Self::float_swap_dims(rows.finish::<Self>(), 1, 2);
        let (key, value) = (split(key), split(value));
        HeadsOutput {
            query: split(query),
            scores: Self::float_permute(scores.finish::<Self>(), &[0, 2, 3, 1]),
            projected_key: key.clone(),
            projected_value: value.clone(),
            key,
            value,
            residual: inputs.x,
        }
    }

    fn after_attention(
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        layers: AfterAttentionLayers<Self>,
        dropout: AttentionDropout,
    ) -> FloatTensor<Self> {
        let inputs = AfterAttention::<Self>::new(context, residual, layers, dropout);
        let mut output = Unwritten::new(inputs.residual.shape().as_slice());
        kernels::after_attention(&inputs.as_kernel(), output.slice());
        output.finish::<Self>()
    }

    fn embed(
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        embed::<Self>([token, position], Ids::new::<Self>(ids, packed))
    }

    fn class_row(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> FloatTensor<Self> {
        let inputs = ClassRow::<Self>::new([query, key, value], context, documents);
        let inputs = inputs.as_kernel();
        let mut output = Output::contiguous(inputs.query.shape());
        kernels::class_row(&inputs, &mut output.view());
        output.finish::<Self>()
    }
}
