//! The layers around attention in tensor operations, over any backend. Called with
//! [`Dispatch`](burn::backend::Dispatch) or with `Autodiff<B>` the forward passes are
//! differentiable by Burn's own rules, which tests the backward passes.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Scalar, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{Shape, TensorData};
use transformer_ls_kernels::dropout;

use super::{
    AfterAttentionGradients, AfterAttentionLayers, EPSILON, EmbedGradients, HeadsGradients,
    HeadsLayers, HeadsOutput, HeadsOutputGradients, LayerNormGradients, LinearLayer, NormLayer,
};
use crate::ops::OptionalTensor;
use crate::ops::plain::{exact_gelu, exact_gelu_backward};
use crate::ops::{AttentionDropout, Boundaries};

/// See [`LayersBackend::heads`](super::LayersBackend::heads).
pub fn heads<B: Backend>(
    x: FloatTensor<B>,
    layers: HeadsLayers<B>,
    heads: usize,
) -> HeadsOutput<B> {
    let [b, n, width] = x.shape().dims();
    let normed = norm_of::<B>(flat::<B>(x.clone()), &layers.norm);
    let split = |rows: FloatTensor<B>| {
        let [_, width] = rows.shape().dims();
        let rows = B::float_reshape(rows, Shape::new([b, n, heads, width / heads]));
        B::float_swap_dims(rows, 1, 2)
    };
    debug_assert_eq!(normed.shape().dims(), [b * n, width]);
    let windowed = |layer| norm_of::<B>(linear::<B>(normed.clone(), layer), &layers.window_norm);
    let key = split(windowed(&layers.key));
    let value = split(windowed(&layers.value));
    let scores = split(linear::<B>(normed.clone(), &layers.projection));
    HeadsOutput {
        query: split(linear::<B>(normed.clone(), &layers.query)),
        scores: B::float_swap_dims(scores, 2, 3),
        projected_key: key.clone(),
        projected_value: value.clone(),
        key,
        value,
        residual: x,
    }
}

/// See [`LayersBackend::heads_backward`](super::LayersBackend::heads_backward).
pub fn heads_backward<B: Backend>(
    d_output: HeadsOutputGradients<B>,
    x: FloatTensor<B>,
    layers: HeadsLayers<B>,
) -> HeadsGradients<B> {
    let shape = x.shape();
    let x = flat::<B>(x);
    let normed = norm_of::<B>(x.clone(), &layers.norm);
    let like = |layer: &LinearLayer<B>| {
        let [rows, _] = x.shape().dims();
        let [width] = layer.bias.shape().dims();
        B::float_zeros(Shape::new([rows, width]), &x.device(), x.dtype().into())
    };
    // Gradients `[b, h, n, d]` as rows.
    let rows = |d: FloatTensor<B>| {
        let [b, h, n, d_head] = d.shape().dims();
        let d = B::float_swap_dims(d, 1, 2);
        B::float_reshape(d, Shape::new([b * n, h * d_head]))
    };
    let sum = |gradients: [OptionalTensor<B>; 2], layer| {
        let mut sum = None;
        for gradient in gradients {
            if let OptionalTensor::Some(d) = gradient {
                let d = rows(d);
                sum = Some(match sum {
                    None => d,
                    Some(sum) => B::float_add(sum, d),
                });
            }
        }
        sum.unwrap_or_else(|| like(layer))
    };
    let d_scores = match d_output.scores {
        OptionalTensor::None => OptionalTensor::None,
        OptionalTensor::Some(d) => OptionalTensor::Some(B::float_swap_dims(d, 2, 3)),
    };
    let d_query = sum([d_output.query, OptionalTensor::None], &layers.query);
    let d_scores = sum([d_scores, OptionalTensor::None], &layers.projection);
    let d_key = sum([d_output.key, d_output.projected_key], &layers.key);
    let d_value = sum([d_output.value, d_output.projected_value], &layers.value);

    let through_window_norm = |d, layer| {
        let before = linear::<B>(normed.clone(), layer);
        norm_gradients::<B>(d, before, &layers.window_norm)
    };
    let (d_key, from_key) = through_window_norm(d_key, &layers.key);
    let (d_value, from_value) = through_window_norm(d_value, &layers.value);
    let window_norm = NormLayer {
        gain: B::float_add(from_key.gain, from_value.gain),
        offset: B::float_add(from_key.offset, from_value.offset),
    };
    let (a, query) = linear_backward::<B>(d_query, normed.clone(), &layers.query);
    let (b, key) = linear_backward::<B>(d_key, normed.clone(), &layers.key);
    let (c, value) = linear_backward::<B>(d_value, normed.clone(), &layers.value);
    let (d, projection) = linear_backward::<B>(d_scores, normed, &layers.projection);
    let d_normed = B::float_add(B::float_add(a, b), B::float_add(c, d));
    let (d_x, norm) = norm_gradients::<B>(d_normed, x, &layers.norm);
    let d_x = B::float_reshape(d_x, shape);
    HeadsGradients {
        x: match d_output.residual {
            OptionalTensor::None => d_x,
            OptionalTensor::Some(d) => B::float_add(d_x, d),
        },
        layers: HeadsLayers {
            norm,
            query,
            key,
            value,
            window_norm,
            projection,
        },
    }
}

/// See [`LayersBackend::after_attention`](super::LayersBackend::after_attention).
pub fn after_attention<B: Backend>(
    context: FloatTensor<B>,
    residual: FloatTensor<B>,
    layers: AfterAttentionLayers<B>,
    dropout: AttentionDropout,
) -> FloatTensor<B> {
    let shape = residual.shape();
    let attended = linear::<B>(flat::<B>(context), &layers.output);
    let rows = B::float_add(flat::<B>(residual), drop::<B>(attended, 0, dropout));
    let normed = norm_of::<B>(rows.clone(), &layers.norm);
    let hidden = exact_gelu::<B>(linear::<B>(normed, &layers.ff_in));
    let output = linear::<B>(drop::<B>(hidden, 1, dropout), &layers.ff_out);
    B::float_reshape(B::float_add(rows, drop::<B>(output, 2, dropout)), shape)
}

/// See [`LayersBackend::after_attention_backward`](super::LayersBackend::after_attention_backward).
pub fn after_attention_backward<B: Backend>(
    d_output: FloatTensor<B>,
    context: FloatTensor<B>,
    residual: FloatTensor<B>,
    layers: AfterAttentionLayers<B>,
    dropout: AttentionDropout,
) -> AfterAttentionGradients<B> {
    let shape = residual.shape();
    let (context, d_output) = (flat::<B>(context), flat::<B>(d_output));
    let attended = linear::<B>(context.clone(), &layers.output);
    let rows = B::float_add(flat::<B>(residual), drop::<B>(attended, 0, dropout));
    let normed = norm_of::<B>(rows.clone(), &layers.norm);
    let before = linear::<B>(normed.clone(), &layers.ff_in);
    let hidden = drop::<B>(exact_gelu::<B>(before.clone()), 1, dropout);

    let d_branch = drop::<B>(d_output.clone(), 2, dropout);
    let (d_hidden, ff_out) = linear_backward::<B>(d_branch, hidden, &layers.ff_out);
    let d_before = exact_gelu_backward::<B>(drop::<B>(d_hidden, 1, dropout), before);
    let (d_normed, ff_in) = linear_backward::<B>(d_before, normed, &layers.ff_in);
    let (d_rows, norm) = norm_gradients::<B>(d_normed, rows, &layers.norm);
    let d_rows = B::float_add(d_rows, d_output);
    let d_attended = drop::<B>(d_rows.clone(), 0, dropout);
    let (d_context, output) = linear_backward::<B>(d_attended, context, &layers.output);
    AfterAttentionGradients {
        context: B::float_reshape(d_context, shape.clone()),
        residual: B::float_reshape(d_rows, shape),
        layers: AfterAttentionLayers {
            output,
            norm,
            ff_in,
            ff_out,
        },
    }
}

/// See [`LayersBackend::norm`](super::LayersBackend::norm).
pub fn norm<B: Backend>(x: FloatTensor<B>, layer: NormLayer<B>) -> FloatTensor<B> {
    let shape = x.shape();
    B::float_reshape(norm_of::<B>(flat::<B>(x), &layer), shape)
}

/// See [`LayersBackend::norm_backward`](super::LayersBackend::norm_backward).
pub fn norm_backward<B: Backend>(
    d_output: FloatTensor<B>,
    x: FloatTensor<B>,
    layer: NormLayer<B>,
) -> LayerNormGradients<B> {
    let shape = x.shape();
    let (d_x, layer) = norm_gradients::<B>(flat::<B>(d_output), flat::<B>(x), &layer);
    LayerNormGradients {
        x: B::float_reshape(d_x, shape),
        layer,
    }
}

/// See [`LayersBackend::embed`](super::LayersBackend::embed).
pub fn embed<B: Backend>(
    token: FloatTensor<B>,
    position: FloatTensor<B>,
    ids: IntTensor<B>,
    packed: Option<Boundaries>,
) -> FloatTensor<B> {
    let places = positions::<B>(&ids, packed);
    B::float_add(B::embedding(token, ids), B::embedding(position, places))
}

/// See [`LayersBackend::embed_backward`](super::LayersBackend::embed_backward).
pub fn embed_backward<B: Backend>(
    d_output: FloatTensor<B>,
    token: FloatTensor<B>,
    position: FloatTensor<B>,
    ids: IntTensor<B>,
    packed: Option<Boundaries>,
) -> EmbedGradients<B> {
    let places = positions::<B>(&ids, packed);
    EmbedGradients {
        token: B::embedding_backward(token, d_output.clone(), ids),
        position: B::embedding_backward(position, d_output, places),
    }
}

/// Each token's position, `[b, n]`.
fn positions<B: Backend>(ids: &IntTensor<B>, packed: Option<Boundaries>) -> IntTensor<B> {
    let [b, n] = ids.shape().dims();
    let positions: Vec<i32> = match packed {
        Some(boundaries) => boundaries.positions().iter().map(|&p| p as i32).collect(),
        None => (0..b).flat_map(|_| 0..n as i32).collect(),
    };
    let device = ids.device();
    let dtype = get_or_init_device_settings::<B>(&device).int_dtype;
    let data = TensorData::new(positions, [b, n]).convert_dtype(dtype.into());
    B::int_from_data(data, &device)
}

/// `[.., width]` → `[rows, width]`
fn flat<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let width = shape.iter().last().copied().unwrap_or(1);
    let rows = shape.num_elements() / width.max(1);
    B::float_reshape(x, Shape::new([rows, width]))
}

fn linear<B: Backend>(x: FloatTensor<B>, layer: &LinearLayer<B>) -> FloatTensor<B> {
    let product = B::float_matmul(x, layer.weight.clone());
    B::float_add(product, row::<B>(layer.bias.clone()))
}

/// Gradients of inputs and parameters.
fn linear_backward<B: Backend>(
    d: FloatTensor<B>,
    x: FloatTensor<B>,
    layer: &LinearLayer<B>,
) -> (FloatTensor<B>, LinearLayer<B>) {
    let transposed = B::float_swap_dims(layer.weight.clone(), 0, 1);
    let d_x = B::float_matmul(d.clone(), transposed);
    let weight = B::float_matmul(B::float_swap_dims(x, 0, 1), d.clone());
    let bias = column_sums::<B>(d);
    (d_x, LinearLayer { weight, bias })
}

fn norm_of<B: Backend>(x: FloatTensor<B>, layer: &NormLayer<B>) -> FloatTensor<B> {
    let (standardized, _) = standardize::<B>(x);
    let scaled = B::float_mul(standardized, row::<B>(layer.gain.clone()));
    B::float_add(scaled, row::<B>(layer.offset.clone()))
}

/// `x̂` and `1/√(variance + ε)`.
fn standardize<B: Backend>(x: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let centred = B::float_sub(x.clone(), row_means::<B>(x));
    let variance = row_means::<B>(B::float_mul(centred.clone(), centred.clone()));
    let variance = B::float_add_scalar(variance, Scalar::from(EPSILON));
    let inverse = B::float_recip(B::float_sqrt(variance));
    (B::float_mul(centred, inverse.clone()), inverse)
}

/// Gradients of inputs and parameters.
fn norm_gradients<B: Backend>(
    d: FloatTensor<B>,
    x: FloatTensor<B>,
    layer: &NormLayer<B>,
) -> (FloatTensor<B>, NormLayer<B>) {
    let (standardized, inverse) = standardize::<B>(x);
    let gain = column_sums::<B>(B::float_mul(d.clone(), standardized.clone()));
    let offset = column_sums::<B>(d.clone());
    let g = B::float_mul(d, row::<B>(layer.gain.clone()));
    let with_x = row_means::<B>(B::float_mul(g.clone(), standardized.clone()));
    let d_x = B::float_sub(g.clone(), row_means::<B>(g));
    let d_x = B::float_sub(d_x, B::float_mul(standardized, with_x));
    (B::float_mul(d_x, inverse), NormLayer { gain, offset })
}

/// `[width]` → `[1, width]`
fn row<B: Backend>(values: FloatTensor<B>) -> FloatTensor<B> {
    let [width] = values.shape().dims();
    B::float_reshape(values, Shape::new([1, width]))
}

/// `[rows, width]` → `[rows, 1]`
fn row_means<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [_, width] = x.shape().dims();
    B::float_mul_scalar(B::float_sum_dim(x, 1), Scalar::from(1.0 / width as f64))
}

/// `[rows, width]` → `[width]`
fn column_sums<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [_, width] = x.shape().dims();
    B::float_reshape(B::float_sum_dim(x, 0), Shape::new([width]))
}

fn drop<B: Backend>(x: FloatTensor<B>, site: u32, dropout: AttentionDropout) -> FloatTensor<B> {
    if dropout.probability == 0.0 {
        return x;
    }
    let [rows, width] = x.shape().dims();
    let threshold = dropout::threshold(dropout.probability);
    let scale = dropout.scale() as f32;
    let factors: Vec<f32> = (0..rows * width)
        .map(|i| {
            let (row, column) = ((i / width) as u32, (i % width) as u32);
            match dropout::hash(dropout.seed, site, 0, row, column) >= threshold {
                true => scale,
                false => 0.0,
            }
        })
        .collect();
    let factors = TensorData::new(factors, [rows, width]).convert_dtype(x.dtype());
    B::float_mul(x.clone(), B::float_from_data(factors, &x.device()))
}
