//! The element types of the kernels.

use fearless_simd::SimdFloatElement;
use fearless_simd::prelude::*;

/// A vector of as many `T` as the processor takes at once.
pub(crate) type Lanes<S, T> = <T as SimdFloatElement>::Native<S>;

/// An element type of the kernels: `f32`, or `f64` where gradients are checked.
///
/// The trait is sealed.
pub trait Real: SimdFloatElement + Send + Sync + sealed::Sealed {
    /// The value nearest to a float64.
    fn from_f64(value: f64) -> Self;

    /// The value as a float64.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }
}

pub(crate) mod sealed {
    use crate::exp::ExpConstants;
    use crate::gelu::ErfcConstants;

    /// What the kernels need to know of an element type, and what keeps others from being one.
    pub trait Sealed: Sized + 'static {
        const ZERO: Self;
        const ONE: Self;
        const INFINITY: Self;
        const NEG_INFINITY: Self;
        /// Of the vector exponential.
        const EXP: ExpConstants<Self>;
        /// Of the vector GELU.
        const ERFC: ErfcConstants<Self>;

        fn ln(self) -> Self;

        fn exp(self) -> Self;

        fn sqrt(self) -> Self;

        /// A small whole number.
        fn from_index(value: isize) -> Self;
    }

    macro_rules! sealed {
        ($type:ident, $exp:expr, $erfc:expr) => {
            impl Sealed for $type {
                const ZERO: Self = 0.0;
                const ONE: Self = 1.0;
                const INFINITY: Self = $type::INFINITY;
                const NEG_INFINITY: Self = $type::NEG_INFINITY;
                const EXP: ExpConstants<Self> = $exp;
                const ERFC: ErfcConstants<Self> = $erfc;

                #[inline(always)]
                fn ln(self) -> Self {
                    self.ln()
                }

                fn exp(self) -> Self {
                    self.exp()
                }

                #[inline(always)]
                fn sqrt(self) -> Self {
                    self.sqrt()
                }

                #[inline(always)]
                fn from_index(value: isize) -> Self {
                    value as $type
                }
            }
        };
    }
    sealed!(f32, crate::exp::F32, crate::gelu::F32);
    sealed!(f64, crate::exp::F64, crate::gelu::F64);
}

/// A vector of one value.
#[inline(always)]
pub(crate) fn splat<S: Simd, T: Real>(simd: S, value: T) -> Lanes<S, T> {
    Lanes::<S, T>::splat(simd, value)
}

/// The vector at the front of a slice.
#[inline(always)]
pub(crate) fn load<S: Simd, T: Real>(simd: S, from: &[T]) -> Lanes<S, T> {
    Lanes::<S, T>::from_slice(simd, &from[..Lanes::<S, T>::LEN])
}

/// Writes a vector to the front of a slice.
#[inline(always)]
pub(crate) fn store<S: Simd, T: Real>(vector: Lanes<S, T>, to: &mut [T]) {
    vector.store_slice(&mut to[..Lanes::<S, T>::LEN]);
}
