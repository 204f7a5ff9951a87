//! The CPU kernels of the layers over the float32 tensors of Flex and NdArray.
//!
//! Differentiable inputs come in an array, as autodiff records them, and their gradients leave in
//! the same order.

use std::sync::Arc;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use transformer_ls_kernels_cpu as kernels;

use super::{
    AfterAttention, AfterAttentionLayers, FusedBackend, HeadsLayers, HeadsLinear, HeadsOutput,
};
use crate::ops::cpu::{CpuBackend, Unwritten};
use crate::ops::layers::EPSILON;
use crate::ops::{Boundaries, OptionalTensor};

/// Outputs of `heads`.
pub(super) const HEADS_OUTPUTS: usize = 7;

/// Inputs of `after_attention`, in the order of [`after_attention_tensors`].
pub(super) const AFTER_ATTENTION_INPUTS: usize = 10;

/// The input, then each linear layer's weight and bias.
pub(super) fn heads_unnormed_tensors<B: Backend>(
    x: FloatTensor<B>,
    layers: HeadsLinear<B>,
) -> [FloatTensor<B>; 9] {
    let HeadsLinear {
        query,
        key,
        value,
        projection,
    } = layers;
    [
        x,
        query.weight,
        query.bias,
        key.weight,
        key.bias,
        value.weight,
        value.bias,
        projection.weight,
        projection.bias,
    ]
}

/// [`heads_unnormed_tensors`], then each norm's gamma and beta.
pub(super) fn heads_tensors<B: Backend>(
    x: FloatTensor<B>,
    layers: HeadsLayers<B>,
) -> [FloatTensor<B>; 13] {
    let [a, b, c, d, e, f, g, h, i] = heads_unnormed_tensors::<B>(x, layers.linear);
    let [norm, window_norm] = [layers.norm, layers.window_norm];
    [
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
        norm.gamma,
        norm.beta,
        window_norm.gamma,
        window_norm.beta,
    ]
}

/// What the kernels see of contiguous [`heads_tensors`], or [`heads_unnormed_tensors`].
fn heads_kernel<B: CpuBackend>(inputs: &[FloatTensor<B>]) -> kernels::Heads<'_, f32> {
    let slice = |i: usize| B::slice(&inputs[i]);
    let linear = |i: usize| linear(slice(i), slice(i + 1));
    let norm = |i: usize| (i < inputs.len()).then(|| norm(slice(i), slice(i + 1)));
    kernels::Heads {
        x: slice(0),
        query: linear(1),
        key: linear(3),
        value: linear(5),
        projection: Some(linear(7)),
        norm: norm(9),
        window_norm: norm(11),
    }
}

fn norm<'a>(gamma: &'a [f32], beta: &'a [f32]) -> kernels::Norm<'a, f32> {
    kernels::Norm {
        gamma,
        beta,
        epsilon: EPSILON,
    }
}

fn linear<'a>(weight: &'a [f32], bias: &'a [f32]) -> kernels::Linear<'a, f32> {
    kernels::Linear { weight, bias }
}

fn norm_gradients<'a>(
    gamma: &'a mut [f32],
    beta: &'a mut [f32],
) -> kernels::NormGradients<'a, f32> {
    kernels::NormGradients { gamma, beta }
}

fn linear_gradients<'a>(
    weight: &'a mut [f32],
    bias: &'a mut [f32],
) -> kernels::LinearGradients<'a, f32> {
    kernels::LinearGradients { weight, bias }
}

/// [`FusedBackend::heads`] of [`heads_tensors`], [`FusedBackend::heads_unnormed`] of
/// [`heads_unnormed_tensors`].
pub(super) fn heads<B: CpuBackend, const N: usize>(
    inputs: [FloatTensor<B>; N],
    heads: usize,
) -> HeadsOutput<B> {
    let inputs = inputs.map(B::contiguous);
    let [b, n, width] = inputs[0].shape().dims();
    let kernel = heads_kernel::<B>(&inputs);
    let scores = kernel
        .projection
        .as_ref()
        .map_or(0, |layer| layer.bias.len());
    let tokens = || Unwritten::new(&[b, n, heads, width / heads]);
    let (mut query, mut key, mut value) = (tokens(), tokens(), tokens());
    let mut scores = Unwritten::new(&[b, n, heads, scores / heads]);
    kernels::heads(
        &kernel,
        &mut kernels::HeadsOutput {
            query: query.slice(),
            key: key.slice(),
            value: value.slice(),
            scores: scores.slice(),
        },
    );
    let split = |rows: Unwritten| B::float_swap_dims(rows.finish::<B>(), 1, 2);
    let (key, value) = (split(key), split(value));
    HeadsOutput {
        query: split(query),
        scores: B::float_permute(scores.finish::<B>(), &[0, 2, 3, 1]),
        projected_key: key.clone(),
        projected_value: value.clone(),
        key,
        value,
        residual: inputs[0].clone(),
    }
}

/// Gradients of the inputs of [`heads`], given those of its outputs in the order of [`HeadsOutput`].
pub(super) fn heads_backward<B: CpuBackend, const N: usize>(
    d_output: [OptionalTensor<B>; HEADS_OUTPUTS],
    inputs: [FloatTensor<B>; N],
) -> [FloatTensor<B>; N] {
    let inputs = inputs.map(B::contiguous);
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
    let mut gradients = inputs.each_ref().map(Unwritten::like::<B>);
    let mut each = gradients.iter_mut().map(Unwritten::slice);
    let x = each.next().expect("the input's");
    let mut linear = || {
        let weight = each.next().expect("a weight's");
        linear_gradients(weight, each.next().expect("a bias's"))
    };
    let (query, key, value, projection) = (linear(), linear(), linear(), linear());
    let mut norm = || Some(norm_gradients(each.next()?, each.next()?));
    let (norm, window_norm) = (norm(), norm());
    kernels::heads_backward(
        &heads_kernel::<B>(&inputs),
        &d_output,
        &mut kernels::HeadsGradients {
            x,
            query,
            key,
            value,
            projection: Some(projection),
            norm,
            window_norm,
        },
    );
    gradients.map(Unwritten::finish::<B>)
}

pub(super) fn after_attention_tensors<B: Backend>(
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

/// What the kernels see of contiguous [`after_attention_tensors`].
fn after_attention_kernel<B: CpuBackend>(
    inputs: &[FloatTensor<B>; AFTER_ATTENTION_INPUTS],
    AfterAttention { adds_norm, dropout }: AfterAttention,
) -> kernels::AfterAttention<'_, f32> {
    let [context, residual, a, b, c, d, e, f, g, h] = inputs.each_ref().map(B::slice);
    kernels::AfterAttention {
        context,
        residual,
        output: linear(a, b),
        norm: norm(c, d),
        ff_in: linear(e, f),
        ff_out: linear(g, h),
        adds_norm,
        dropout,
    }
}

/// From this width on the rows between the layers are kept for the backward pass, whatever the strategy
/// of checkpoints.
///
/// Computing a row again takes `2 D (D + d_ff)` operations, keeping it and reading it back moves
/// `3 (D + d_ff)` numbers: for narrow rows both take as long, and computing them saves that memory.
const KEPT_WIDTH: usize = 192;

/// [`FusedBackend::after_attention`] of [`after_attention_tensors`], and what is kept where there may
/// be a backward pass.
pub(super) fn after_attention<B: CpuBackend>(
    inputs: [FloatTensor<B>; AFTER_ATTENTION_INPUTS],
    setting: AfterAttention,
    recorded: bool,
) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
    let inputs = inputs.map(B::contiguous);
    let [_, residual, _, output_bias, ..] = &inputs;
    let [width] = output_bias.shape().dims();
    let mut output = Unwritten::like::<B>(residual);
    let kernel = after_attention_kernel::<B>(&inputs, setting);
    let mut kept = (recorded && width >= KEPT_WIDTH).then(|| Unwritten::new(&[kernel.kept_len()]));
    kernels::after_attention(&kernel, output.slice(), kept.as_mut().map(Unwritten::slice));
    (output.finish::<B>(), kept.map(Unwritten::finish::<B>))
}

/// Gradients of [`after_attention_tensors`].
pub(super) fn after_attention_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    inputs: [FloatTensor<B>; AFTER_ATTENTION_INPUTS],
    (setting, kept): (AfterAttention, Option<FloatTensor<B>>),
) -> [FloatTensor<B>; AFTER_ATTENTION_INPUTS] {
    let d_output = B::contiguous(d_output);
    let inputs = inputs.map(B::contiguous);
    let mut gradients = inputs.each_ref().map(Unwritten::like::<B>);
    let [context, residual, a, b, c, d, e, f, g, h] = gradients.each_mut().map(Unwritten::slice);
    kernels::after_attention_backward(
        &after_attention_kernel::<B>(&inputs, setting),
        kept.as_ref().map(B::slice),
        B::slice(&d_output),
        &mut kernels::AfterAttentionGradients {
            context,
            residual,
            output: linear_gradients(a, b),
            norm: norm_gradients(c, d),
            ff_in: linear_gradients(e, f),
            ff_out: linear_gradients(g, h),
        },
    );
    gradients.map(Unwritten::finish::<B>)
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

/// What the kernels see of contiguous tables of tokens and of positions.
fn embed_kernel<'a, B: CpuBackend>(
    tables: &'a [FloatTensor<B>; 2],
    ids: &'a Ids,
) -> kernels::Embed<'a, f32> {
    let [token, position] = tables.each_ref().map(B::slice);
    let [_, width] = tables[0].shape().dims();
    kernels::Embed {
        token,
        position,
        width,
        ids: &ids.ids,
        documents: match &ids.packed {
            Some(boundaries) => kernels::Documents::Packed(boundaries),
            None => kernels::Documents::Rows { mask: None },
        },
        batch: ids.shape[0],
    }
}

/// [`FusedBackend::embed`] of the tables of tokens and of positions.
pub(super) fn embed<B: CpuBackend>(tables: [FloatTensor<B>; 2], ids: Ids) -> FloatTensor<B> {
    let tables = tables.map(B::contiguous);
    let inputs = embed_kernel::<B>(&tables, &ids);
    let [b, n] = ids.shape;
    let mut output = Unwritten::new(&[b, n, inputs.width]);
    kernels::embed(&inputs, output.slice());
    output.finish::<B>()
}

/// Gradients of both tables.
pub(super) fn embed_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    tables: [FloatTensor<B>; 2],
    ids: Ids,
) -> [FloatTensor<B>; 2] {
    let d_output = B::contiguous(d_output);
    let tables = tables.map(B::contiguous);
    let mut gradients = tables.each_ref().map(Unwritten::like::<B>);
    kernels::embed_backward(
        &embed_kernel::<B>(&tables, &ids),
        B::slice(&d_output),
        gradients.each_mut().map(Unwritten::slice),
    );
    gradients.map(Unwritten::finish::<B>)
}

impl<B: CpuBackend> FusedBackend for B {
    fn heads(x: FloatTensor<Self>, layers: HeadsLayers<Self>, heads: usize) -> HeadsOutput<Self> {
        self::heads::<Self, _>(heads_tensors::<Self>(x, layers), heads)
    }

    fn heads_unnormed(
        x: FloatTensor<Self>,
        layers: HeadsLinear<Self>,
        heads: usize,
    ) -> HeadsOutput<Self> {
        self::heads::<Self, _>(heads_unnormed_tensors::<Self>(x, layers), heads)
    }

    fn after_attention(
        context: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        layers: AfterAttentionLayers<Self>,
        setting: AfterAttention,
    ) -> FloatTensor<Self> {
        let inputs = after_attention_tensors::<Self>(context, residual, layers);
        after_attention::<Self>(inputs, setting, false).0
    }

    fn embed(
        token: FloatTensor<Self>,
        position: FloatTensor<Self>,
        ids: IntTensor<Self>,
        packed: Option<Boundaries>,
    ) -> FloatTensor<Self> {
        embed::<Self>([token, position], Ids::new::<Self>(ids, packed))
    }
}
