//! LayerNorm, the exact GELU, embeddings and linear layers in tensor operations, over any backend.
//! Called with [`Dispatch`](burn::backend::Dispatch) or with `Autodiff<B>` the forward passes are
//! differentiable by Burn's own rules, which tests the backward passes.
//!
//! The exact GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415) is `x Φ(x)` with the normal
//! distribution's `Φ(x) = ½ (1 + erf(x/√2))`, and its derivative `Φ(x) + x φ(x)`. It is an
//! operation of this crate because Burn's default backward pass of the exact GELU is that of the
//! tanh approximation, off by up to 5e-4 (`burn-backend` 0.22.1, `ops/activation.rs`).

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Scalar, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use super::{EPSILON, EmbedGradients, LayerNormGradients, NormLayer};
use crate::ops::{Boundaries, OptionalTensor};

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
    added: OptionalTensor<B>,
) -> LayerNormGradients<B> {
    let shape = x.shape();
    let (d_x, layer) = norm_gradients::<B>(flat::<B>(d_output), flat::<B>(x), &layer);
    LayerNormGradients {
        x: plus::<B>(B::float_reshape(d_x, shape), added),
        layer,
    }
}

fn plus<B: Backend>(x: FloatTensor<B>, added: OptionalTensor<B>) -> FloatTensor<B> {
    match added.into_option() {
        Some(added) => B::float_add(added, x),
        None => x,
    }
}

/// `[.., width]` → `[rows, width]`
fn flat<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let width = shape.iter().last().copied().unwrap_or(1);
    let rows = shape.num_elements() / width.max(1);
    B::float_reshape(x, Shape::new([rows, width]))
}

fn norm_of<B: Backend>(x: FloatTensor<B>, layer: &NormLayer<B>) -> FloatTensor<B> {
    let (standardized, _) = standardize::<B>(x);
    let scaled = B::float_mul(standardized, row::<B>(layer.gamma.clone()));
    B::float_add(scaled, row::<B>(layer.beta.clone()))
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
    let gamma = column_sums::<B>(B::float_mul(d.clone(), standardized.clone()));
    let beta = column_sums::<B>(d.clone());
    let g = B::float_mul(d, row::<B>(layer.gamma.clone()));
    let with_x = row_means::<B>(B::float_mul(g.clone(), standardized.clone()));
    let d_x = B::float_sub(g.clone(), row_means::<B>(g));
    let d_x = B::float_sub(d_x, B::float_mul(standardized, with_x));
    (B::float_mul(d_x, inverse), NormLayer { gamma, beta })
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

/// See [`LayersBackend::exact_gelu`](super::LayersBackend::exact_gelu).
pub fn exact_gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), distribution::<B>(x))
}

/// See [`LayersBackend::exact_gelu_backward`](super::LayersBackend::exact_gelu_backward).
pub fn exact_gelu_backward<B: Backend>(
    d_output: FloatTensor<B>,
    x: FloatTensor<B>,
) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    let density = B::float_exp(B::float_mul_scalar(square, Scalar::from(-0.5)));
    let density = B::float_mul_scalar(density, Scalar::from(1.0 / (2.0 * PI).sqrt()));
    let derivative = B::float_add(distribution::<B>(x.clone()), B::float_mul(x, density));
    B::float_mul(d_output, derivative)
}

/// `Φ(x)`
fn distribution<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x, Scalar::from(FRAC_1_SQRT_2)));
    B::float_mul_scalar(
        B::float_add_scalar(erf, Scalar::from(1.0)),
        Scalar::from(0.5),
    )
}

/// See [`LayersBackend::embed`](super::LayersBackend::embed).
pub fn embed<B: Backend>(
    token: FloatTensor<B>,
    position: OptionalTensor<B>,
    ids: IntTensor<B>,
    packed: Option<Boundaries>,
) -> FloatTensor<B> {
    let shape = ids.shape();
    let embedded = B::embedding(token, ids);
    match position.into_option() {
        None => embedded,
        Some(position) => {
            let places = places::<B>(shape, packed, &position);
            B::float_add(embedded, B::embedding(position, places))
        }
    }
}

/// See [`LayersBackend::embed_backward`](super::LayersBackend::embed_backward).
pub fn embed_backward<B: Backend>(
    d_output: FloatTensor<B>,
    token: FloatTensor<B>,
    position: OptionalTensor<B>,
    ids: IntTensor<B>,
    packed: Option<Boundaries>,
) -> EmbedGradients<B> {
    let position = position.into_option().map(|position| {
        let places = places::<B>(ids.shape(), packed, &position);
        let d_places = match places.shape().dims() == ids.shape().dims::<2>() {
            true => d_output.clone(),
            false => B::float_sum_dim(d_output.clone(), 0),
        };
        B::embedding_backward(position, d_places, places)
    });
    EmbedGradients {
        token: B::embedding_backward(token, d_output, ids),
        position: OptionalTensor::from_option(position),
    }
}

/// The position of each token of a batch `[b, n]` in its document, `[1, n]`, on the device of `like`.
fn places<B: Backend>(
    shape: Shape,
    packed: Option<Boundaries>,
    like: &FloatTensor<B>,
) -> IntTensor<B> {
    let [_, n] = shape.dims();
    let places = packed.map_or_else(|| (0..n).collect(), |packed| packed.positions());
    let places: Vec<i32> = places.into_iter().map(|place| place as i32).collect();
    B::int_from_data(TensorData::new(places, [1, n]), &like.device())
}

/// See [`LayersBackend::linear_layer`](super::LayersBackend::linear_layer).
pub fn linear_layer<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    added: OptionalTensor<B>,
) -> FloatTensor<B> {
    plus::<B>(B::linear(x, weight, bias.into_option()), added)
}

/// See [`LayersBackend::linear_layer_dx`](super::LayersBackend::linear_layer_dx).
pub fn linear_layer_dx<B: Backend>(
    d_output: FloatTensor<B>,
    weight: FloatTensor<B>,
    added: OptionalTensor<B>,
) -> FloatTensor<B> {
    plus::<B>(B::linear_x_backward(weight, d_output), added)
}

/// See [`LayersBackend::linear_layer_backward`](super::LayersBackend::linear_layer_backward).
pub fn linear_layer_backward<B: Backend>(
    d_output: FloatTensor<B>,
    x: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let d_weight = B::linear_weight_backward(x, d_output.clone());
    (d_weight, B::linear_bias_backward(d_output))
}
