//! The exact GELU and its derivative of a whole vector.
//!
//! `x Φ(x)` and `Φ(x) + x φ(x)` with the normal distribution's `Φ(x) = ½ erfc(−x/√2)`. For `z ≥ 0`,
//! `erfc z = t · q(2t − 1) · exp(−z²)` with `t = 1/(1 + pz)` and a polynomial `q` that interpolates at
//! Chebyshev nodes, so that Φ keeps its relative accuracy far into the left tail. The exponential is
//! φ's as well.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use fearless_simd::prelude::*;

use crate::exp::exp;
use crate::real::{Lanes, Real, splat};

/// The numbers that differ between the element types.
pub struct ErfcConstants<T: 'static> {
    p: T,
    /// Coefficients of `q`, the highest power first.
    q: &'static [T],
}

/// Relative error 9e-9, before rounding.
#[allow(clippy::excessive_precision, reason = "digits as they were computed")]
pub const F32: ErfcConstants<f32> = ErfcConstants {
    p: 0.4,
    q: &[
        -2.916_858_3e-5,
        -1.074_623_65e-5,
        0.000_266_488_32,
        0.000_165_441_52,
        -0.001_921_382,
        -0.003_353_155_2,
        0.011_343_547,
        0.068_499_766,
        0.181_565_7,
        0.321_860_76,
        0.421_612_74,
    ],
};

/// Relative error 8e-16, before rounding.
#[allow(clippy::excessive_precision, reason = "digits as they were computed")]
pub const F64: ErfcConstants<f64> = ErfcConstants {
    p: 0.5,
    q: &[
        6.862_125_631_489_57e-9,
        -5.021_930_669_720_097e-9,
        -5.297_335_962_428_669e-8,
        6.651_691_098_356_388e-8,
        1.534_922_208_592_822_5e-7,
        -3.726_243_739_740_834_3e-7,
        1.036_079_053_980_758_6e-8,
        1.075_303_426_536_838_5e-6,
        -1.830_307_008_683_504_4e-6,
        -6.061_660_648_176_088e-7,
        8.064_338_825_028_904e-6,
        -1.083_084_014_006_101_7e-5,
        -1.707_558_707_886_206_8e-5,
        7.223_078_005_558_086e-5,
        -1.718_551_022_897_098_4e-5,
        -0.000_331_535_969_516_700_36,
        0.000_418_648_009_118_643_27,
        0.001_545_305_950_172_166_3,
        -0.003_239_592_532_662_749_3,
        -0.010_755_330_940_551_767,
        0.018_221_115_753_413_866,
        0.139_736_046_277_940_17,
        0.343_580_342_206_905_36,
        0.510_791_352_621_011_8,
    ],
};

/// The GELU of `x`, and its derivative.
#[inline(always)]
pub(crate) fn gelu<S: Simd, T: Real>(simd: S, x: Lanes<S, T>) -> (Lanes<S, T>, Lanes<S, T>) {
    let constants = T::ERFC;
    let zero = splat::<S, T>(simd, T::ZERO);
    let one = splat::<S, T>(simd, T::ONE);
    let z = x.abs() * T::from_f64(FRAC_1_SQRT_2);
    let t = one / z.mul_add(constants.p, one);
    let u = t + t - one;
    let mut q = splat::<S, T>(simd, constants.q[0]);
    for &coefficient in &constants.q[1..] {
        q = q.mul_add(u, coefficient);
    }
    let power = exp::<S, T>(simd, x * x * T::from_f64(-0.5));
    let tail = t * q * power * T::from_f64(0.5);
    let share = x.simd_lt(zero).select(tail, one - tail);
    let derivative = (x * power).mul_add(T::from_f64(1.0 / (2.0 * PI).sqrt()), share);
    (x * share, derivative)
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    fn gelu_of<T: Real>(x: &[T]) -> Vec<(T, T)> {
        #[inline(always)]
        fn run<S: Simd, T: Real>(simd: S, x: &[T], to: &mut Vec<(T, T)>) {
            for x in x.chunks_exact(Lanes::<S, T>::LEN) {
                let (y, dy) = gelu::<S, T>(simd, Lanes::<S, T>::from_slice(simd, x));
                to.extend(
                    y.as_slice()
                        .iter()
                        .copied()
                        .zip(dy.as_slice().iter().copied()),
                );
            }
        }
        let mut padded = x.to_vec();
        padded.resize(x.len().next_multiple_of(16), T::ZERO);
        let mut y = Vec::new();
        dispatch!(Level::new(), simd => run(simd, &padded, &mut y));
        y.truncate(x.len());
        y
    }

    /// Values and derivatives from mpmath, 40 digits.
    const EXACT: [(f64, f64, f64); 11] = [
        (-12.0, -2.1317785344932147e-32, -2.5578956616748956e-31),
        (-6.5, -2.6104003795084267e-10, -1.6950517937572625e-09),
        (-3.25, -0.0018753313877699928, -0.006017381143833479),
        (-1.0, -0.15865525393145705, -0.0833154705876863),
        (-0.5, -0.15426876936299344, 0.13250487534383715),
        (-0.0625, -0.029692645685672047, 0.45019708992782237),
        (0.125, 0.06871727810376412, 0.5992179356982066),
        (0.75, 0.5800294857173488, 0.9992257217392351),
        (1.5, 1.399789198096713, 1.1274691922299795),
        (3.0, 2.99595030590511, 1.011945647204184),
        (8.0, 7.999999999999995, 1.0000000000000397),
    ];

    #[test]
    fn values_of_a_table() {
        let x = EXACT.map(|(x, _, _)| x);
        for ((x, y, dy), found) in EXACT.into_iter().zip(gelu_of(&x)) {
            let near = |a: f64, b: f64| (a - b).abs() <= 2e-14 * b.abs().max(1e-3);
            assert!(
                near(found.0, y) && near(found.1, dy),
                "gelu({x}) = {found:?}, not {y}, {dy}"
            );
        }
        for ((x, y, dy), found) in EXACT.into_iter().zip(gelu_of(&x.map(|x| x as f32))) {
            let near = |a: f32, b: f64| (f64::from(a) - b).abs() <= 4e-7 * b.abs().max(0.1);
            assert!(
                near(found.0, y) && near(found.1, dy),
                "gelu({x}) = {found:?}, not {y}, {dy}"
            );
        }
    }

    #[test]
    fn ends_of_the_range() {
        let found = gelu_of(&[f32::NAN, -1e30, -40.0, 0.0, 40.0, 1e30]);
        assert!(found[0].0.is_nan() && found[0].1.is_nan());
        assert_eq!(found[2], (0.0, 0.0));
        assert_eq!(found[3], (0.0, 0.5));
        assert_eq!(found[4], (40.0, 1.0));
    }

    #[test]
    fn float32_agrees_with_float64() {
        let x: Vec<f32> = (0..400_001).map(|i| i as f32 * 5e-5 - 10.0).collect();
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for ((x, found), exact) in x.iter().zip(gelu_of(&x)).zip(gelu_of(&exact)) {
            let wrong = (f64::from(found.0) - exact.0).abs() > 2e-7 * f64::from(x.abs()).max(1.0);
            let slope = (f64::from(found.1) - exact.1).abs() > 4e-7;
            assert!(!wrong && !slope, "gelu({x}) = {found:?}, not {exact:?}");
        }
    }
}
