//! The two products that all kernels are made of, both with one factor in tiles.
//!
//! * [`dots`]: tile · rowᵀ, the scores that a tile of queries gives to keys, one key a column.
//! * [`sums`]: weights · rows, sums of keys or values weighted by such scores.
//!
//! Both keep a block of results in registers and read one factor as vectors, the other as single
//! numbers that are spread over a vector.

use std::ops::Range;

use fearless_simd::prelude::*;

use crate::real::{Lanes, Real, load, splat};
use crate::tile::{TileRow, vectors};
use crate::view::Rows;

/// Whether there are 32 vector registers rather than 16.
#[inline(always)]
const fn many_registers<S: Simd, T: Real>() -> bool {
    cfg!(target_arch = "aarch64") || Lanes::<S, T>::LEN * size_of::<T>() >= 64
}

/// Whether 6 of so many are done at once where registers are few: as many sums of two vectors as they
/// hold, which take more cycles than a multiplication does. Fours divide the rest then.
#[inline(always)]
fn sixes<S: Simd, T: Real>(left: usize) -> bool {
    !many_registers::<S, T>() && (left == 6 || left >= 10)
}

/// One product that [`dots`] sums up: a tile, a row of it per feature, and rows of these features.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a, T> {
    pub tile: &'a [TileRow<T>],
    pub rows: Rows<'a, T>,
}

/// For each `column` and each of the tile's `vectors`, hands `Σ_k tile[k][vector] · rows[column][k]`
/// to `finish(column, vector, sum)`; over several factors, their sum.
#[inline(always)]
pub(crate) fn dots<S: Simd, T: Real, const P: usize>(
    simd: S,
    factors: [Factors<'_, T>; P],
    vectors: Range<usize>,
    columns: Range<usize>,
    mut finish: impl FnMut(usize, usize, Lanes<S, T>),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut vector = vectors.start;
            while vector + 2 <= vectors.end {
                let mut column = columns.start;
                if many_registers::<S, T>() {
                    while column + 8 <= columns.end {
                        dots_block::<S, T, P, 2, 8>(simd, factors, vector, column, &mut finish);
                        column += 8;
                    }
                }
                while sixes::<S, T>(columns.end - column) {
                    dots_block::<S, T, P, 2, 6>(simd, factors, vector, column, &mut finish);
                    column += 6;
                }
                while column + 4 <= columns.end {
                    dots_block::<S, T, P, 2, 4>(simd, factors, vector, column, &mut finish);
                    column += 4;
                }
                while column < columns.end {
                    dots_block::<S, T, P, 2, 1>(simd, factors, vector, column, &mut finish);
                    column += 1;
                }
                vector += 2;
            }
            if vector < vectors.end {
                let mut column = columns.start;
                while column + 8 <= columns.end {
                    dots_block::<S, T, P, 1, 8>(simd, factors, vector, column, &mut finish);
                    column += 8;
                }
                while column + 4 <= columns.end {
                    dots_block::<S, T, P, 1, 4>(simd, factors, vector, column, &mut finish);
                    column += 4;
                }
                while column < columns.end {
                    dots_block::<S, T, P, 1, 1>(simd, factors, vector, column, &mut finish);
                    column += 1;
                }
            }
        },
    );
}

#[inline(always)]
fn dots_block<S: Simd, T: Real, const P: usize, const V: usize, const C: usize>(
    simd: S,
    factors: [Factors<'_, T>; P],
    vector: usize,
    column: usize,
    finish: &mut impl FnMut(usize, usize, Lanes<S, T>),
) {
    let lanes = Lanes::<S, T>::LEN;
    let mut sums = [[splat::<S, T>(simd, T::ZERO); V]; C];
    for Factors { tile, rows } in factors {
        let mut columns: [&[T]; C] = [&[]; C];
        for c in 0..C {
            columns[c] = &rows.row(column + c)[..tile.len()];
        }
        for (k, tile) in tile.iter().enumerate() {
            let tile = &tile[vector * lanes..][..V * lanes];
            let mut vectors = [splat::<S, T>(simd, T::ZERO); V];
            for v in 0..V {
                vectors[v] = load::<S, T>(simd, &tile[v * lanes..]);
            }
            for c in 0..C {
                let factor = splat::<S, T>(simd, columns[c][k]);
                for v in 0..V {
                    sums[c][v] = vectors[v].mul_add(factor, sums[c][v]);
                }
            }
        }
    }
    for c in 0..C {
        for v in 0..V {
            finish(column + c, vector + v, sums[c][v]);
        }
    }
}

/// One product that [`sums`] sums up.
#[derive(Clone)]
pub(crate) struct Terms<'a, T> {
    /// `weights[term][output]` if `BY_TERM`, else `weights[output][term]`.
    pub weights: &'a [TileRow<T>],
    /// Row `term`: what is weighted. Its width is a whole number of vectors.
    pub rows: Rows<'a, T>,
    pub terms: Range<usize>,
}

/// For each `output` and each vector of the rows, hands `Σ_term weight(output, term) · rows[term]`
/// to `finish(output, offset in the row, sum)`; over several products, their sum.
#[inline(always)]
pub(crate) fn sums<S: Simd, T: Real, const BY_TERM: bool, const P: usize>(
    simd: S,
    products: [Terms<'_, T>; P],
    outputs: Range<usize>,
    mut finish: impl FnMut(usize, usize, Lanes<S, T>),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut output = outputs.start;
            if many_registers::<S, T>() {
                while output + 8 <= outputs.end {
                    sums_row::<S, T, BY_TERM, P, 8>(simd, &products, output, &mut finish);
                    output += 8;
                }
            }
            while sixes::<S, T>(outputs.end - output) {
                sums_row::<S, T, BY_TERM, P, 6>(simd, &products, output, &mut finish);
                output += 6;
            }
            while output + 4 <= outputs.end {
                sums_row::<S, T, BY_TERM, P, 4>(simd, &products, output, &mut finish);
                output += 4;
            }
            while output < outputs.end {
                sums_row::<S, T, BY_TERM, P, 1>(simd, &products, output, &mut finish);
                output += 1;
            }
        },
    );
}

#[inline(always)]
fn sums_row<S: Simd, T: Real, const BY_TERM: bool, const P: usize, const M: usize>(
    simd: S,
    products: &[Terms<'_, T>; P],
    output: usize,
    finish: &mut impl FnMut(usize, usize, Lanes<S, T>),
) {
    let lanes = Lanes::<S, T>::LEN;
    let width = products[0].rows.width;
    let mut offset = 0;
    while offset + 2 * lanes <= width {
        sums_block::<S, T, BY_TERM, P, M, 2>(simd, products, output, offset, finish);
        offset += 2 * lanes;
    }
    if offset < width {
        sums_block::<S, T, BY_TERM, P, M, 1>(simd, products, output, offset, finish);
    }
}

#[inline(always)]
fn sums_block<
    S: Simd,
    T: Real,
    const BY_TERM: bool,
    const P: usize,
    const M: usize,
    const V: usize,
>(
    simd: S,
    products: &[Terms<'_, T>; P],
    output: usize,
    offset: usize,
    finish: &mut impl FnMut(usize, usize, Lanes<S, T>),
) {
    let lanes = Lanes::<S, T>::LEN;
    let mut sums = [[splat::<S, T>(simd, T::ZERO); V]; M];
    for Terms {
        weights,
        rows,
        terms,
    } in products
    {
        let by_output = match BY_TERM {
            true => &[],
            false => &weights[output..output + M],
        };
        for term in terms.clone() {
            let of_term: &[T] = match BY_TERM {
                true => &weights[term][output..output + M],
                false => &[],
            };
            let row = &rows.data[term * rows.step + offset..][..V * lanes];
            let mut vectors = [splat::<S, T>(simd, T::ZERO); V];
            for v in 0..V {
                vectors[v] = load::<S, T>(simd, &row[v * lanes..]);
            }
            for m in 0..M {
                let weight = match BY_TERM {
                    true => of_term[m],
                    false => by_output[m][term],
                };
                let weight = splat::<S, T>(simd, weight);
                for v in 0..V {
                    sums[m][v] = vectors[v].mul_add(weight, sums[m][v]);
                }
            }
        }
    }
    for m in 0..M {
        for v in 0..V {
            finish(output + m, offset + v * lanes, sums[m][v]);
        }
    }
}

/// All vectors of a tile.
#[inline(always)]
pub(crate) const fn all_vectors<S: Simd, T: Real>() -> Range<usize> {
    0..vectors::<S, T>()
}
