//! The exact GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415): `x Φ(x)` with the normal
//! distribution's `Φ(x) = ½ (1 + erf(x/√2))`, and its derivative `Φ(x) + x φ(x)`.
//!
//! It is an operation of this crate because Burn's default backward pass of the exact GELU is that
//! of the tanh approximation, off by up to 5e-4 (`burn-backend` 0.22.1, `ops/activation.rs`).

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Scalar};

/// See [`LongShortBackend::exact_gelu`](crate::ops::LongShortBackend::exact_gelu).
pub fn exact_gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), distribution::<B>(x))
}

/// See [`LongShortBackend::exact_gelu_backward`](crate::ops::LongShortBackend::exact_gelu_backward).
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
