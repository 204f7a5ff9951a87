//! The exponential of a whole vector, within 2 units in the last place.
//!
//! `exp x = 2ⁿ · exp r` with `n = round(x / ln 2)` and `|r| ≤ ln 2 / 2`. `ln 2` is split in two, so
//! that `n` times its first part is exact; `exp r = 1 + r + r²·q(r)` with `q` interpolated at
//! Chebyshev nodes; and `n` goes into the exponent by integer arithmetic.

use fearless_simd::prelude::*;

use crate::real::{Lanes, Real, splat};

/// The numbers that differ between the element types.
pub struct ExpConstants<T: 'static> {
    /// 1.5 · 2^(mantissa bits): adding it rounds to a whole number, which then lies in the low bits.
    magic: T,
    mantissa_bits: u32,
    log2_e: T,
    minus_ln2_high: T,
    minus_ln2_low: T,
    /// Arguments below give 0: their results would be subnormal.
    least: T,
    /// Coefficients of `q`, the highest power first.
    q: &'static [T],
}

pub const F32: ExpConstants<f32> = ExpConstants {
    magic: 12_582_912.0,
    mantissa_bits: 23,
    log2_e: std::f32::consts::LOG2_E,
    minus_ln2_high: -0.693_359_4,
    minus_ln2_low: 2.121_944_4e-4,
    least: -87.0,
    q: &[
        0.001_392_617_6,
        0.008_363_173,
        0.041_666_556,
        0.166_665_77,
        0.5,
    ],
};

pub const F64: ExpConstants<f64> = ExpConstants {
    magic: 6_755_399_441_055_744.0,
    mantissa_bits: 52,
    log2_e: std::f64::consts::LOG2_E,
    minus_ln2_high: -0.693_147_180_369_123_8,
    minus_ln2_low: -1.908_214_929_270_587_7e-10,
    least: -708.0,
    q: &[
        2.510_037_583_256_123_4e-8,
        2.762_007_587_998_336_7e-7,
        2.755_726_848_031_002_4e-6,
        2.480_152_132_236_869_2e-5,
        0.000_198_412_698_630_405_45,
        0.001_388_888_891_719_671_9,
        0.008_333_333_333_330_065,
        0.041_666_666_666_624_164,
        0.166_666_666_666_666_69,
        0.5,
    ],
};

/// `exp x` for `x` up to 88 in float32 and 709 in float64; 0 where the result would be subnormal,
/// −∞ included, and NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd, T: Real>(simd: S, x: Lanes<S, T>) -> Lanes<S, T> {
    let constants = T::EXP;
    let magic = splat::<S, T>(simd, constants.magic);
    let rounded = x.mul_add(constants.log2_e, magic);
    let n = rounded - magic;
    let r = n.mul_add(constants.minus_ln2_high, x);
    let r = n.mul_add(constants.minus_ln2_low, r);
    let mut q = splat::<S, T>(simd, constants.q[0]);
    for &coefficient in &constants.q[1..] {
        q = q.mul_add(r, coefficient);
    }
    let exp_r = q.mul_add(r * r, r) + T::ONE;
    let bits = exp_r.to_bits() + (rounded.to_bits() << constants.mantissa_bits);
    let result = Lanes::<S, T>::from_bits(bits);
    x.simd_lt(constants.least)
        .select(splat::<S, T>(simd, T::ZERO), result)
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    fn exp_of<T: Real>(x: &[T]) -> Vec<T> {
        #[inline(always)]
        fn run<S: Simd, T: Real>(simd: S, x: &[T], y: &mut [T]) {
            let lanes = Lanes::<S, T>::LEN;
            for (x, y) in x.chunks_exact(lanes).zip(y.chunks_exact_mut(lanes)) {
                exp::<S, T>(simd, Lanes::<S, T>::from_slice(simd, x)).store_slice(y);
            }
        }
        let mut padded = x.to_vec();
        padded.resize(x.len().next_multiple_of(64), T::ZERO);
        let mut y = padded.clone();
        dispatch!(Level::new(), simd => run(simd, &padded, &mut y));
        y.truncate(x.len());
        y
    }

    #[test]
    fn float32_is_within_two_units_in_the_last_place() {
        let x: Vec<f32> = (0..2_000_001).map(|i| -87.0 + i as f32 * 87.5e-6).collect();
        for (x, y) in x.iter().zip(exp_of(&x)) {
            let exact = f64::from(*x).exp();
            let unit =
                f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
            let error = (f64::from(y) - exact).abs() / unit;
            assert!(error < 1.5, "exp({x}) = {y}: {error} ulp");
        }
    }

    #[test]
    fn float64_agrees_with_the_standard_library() {
        let x: Vec<f64> = (0..200_001).map(|i| -708.0 + i as f64 * 7e-3).collect();
        for (x, y) in x.iter().zip(exp_of(&x)) {
            let exact = x.exp();
            assert!(
                (y - exact).abs() <= 4e-16 * exact,
                "exp({x}) = {y}, not {exact}"
            );
        }
    }

    #[test]
    fn ends_of_the_range() {
        let y = exp_of(&[f32::NEG_INFINITY, -1e30, -88.0, 0.0, f32::NAN]);
        assert_eq!(y[..4], [0.0, 0.0, 0.0, 1.0]);
        assert!(y[4].is_nan());
        let y = exp_of(&[f64::NEG_INFINITY, -1e300, 0.0, f64::NAN]);
        assert_eq!(y[..3], [0.0, 0.0, 1.0]);
        assert!(y[3].is_nan());
    }
}
