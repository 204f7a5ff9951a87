//! Tiles: 32 rows of a tensor transposed, so that one vector holds one column of them.
//!
//! A row of a tile is `[T; TILE]`: a feature of 32 queries, or the scores that 32 queries (or
//! landmarks) give one key. Softmax then works on whole vectors without a horizontal sum.

use fearless_simd::prelude::*;

use crate::real::{Lanes, Real, load, splat, store};
use crate::view::Rows;

/// Queries, or landmarks, in a tile: two AVX-512 vectors of float32, four of AVX2.
pub(crate) const TILE: usize = 32;

/// One number of each member of a tile.
pub(crate) type TileRow<T> = [T; TILE];

/// Vectors in a row of a tile.
#[inline(always)]
pub(crate) const fn vectors<S: Simd, T: Real>() -> usize {
    TILE / Lanes::<S, T>::LEN
}

/// Memory that a thread uses again for every tile, at the start of a cache line.
#[derive(Debug, Default)]
pub(crate) struct Scratch<T> {
    data: Vec<T>,
}

impl<T: Real> Scratch<T> {
    /// `len` elements that hold anything.
    pub fn take(&mut self, len: usize) -> &mut [T] {
        const LINE: usize = 64;
        let slack = LINE / size_of::<T>();
        if self.data.len() < len + slack {
            self.data.resize(len + slack, T::ZERO);
        }
        let start = self.data.as_ptr().align_offset(LINE).min(slack);
        &mut self.data[start..start + len]
    }

    /// `len` rows of a tile that hold anything.
    pub fn take_rows(&mut self, len: usize) -> &mut [TileRow<T>] {
        self.take(len * TILE).as_chunks_mut().0
    }
}

/// `to[k][i] = scale · rows.row(i)[k]`, and 0 for the rows from `count` on.
#[inline(always)]
pub(crate) fn transpose_rows<S: Simd, T: Real>(
    simd: S,
    rows: Rows<'_, T>,
    count: usize,
    scale: T,
    to: &mut [TileRow<T>],
) {
    let lanes = Lanes::<S, T>::LEN;
    let zero = splat::<S, T>(simd, T::ZERO);
    let whole = to.len() - to.len() % lanes;
    for first in (0..TILE).step_by(lanes) {
        for feature in (0..whole).step_by(lanes) {
            let mut block = [zero; 16];
            for i in 0..lanes {
                if first + i < count {
                    block[i] = load::<S, T>(simd, &rows.row(first + i)[feature..]) * scale;
                }
            }
            let block = transpose::<S, T>(block);
            let to = &mut to[feature..feature + lanes];
            for i in 0..lanes {
                store::<S, T>(block[i], &mut to[i][first..]);
            }
        }
    }
    for i in 0..TILE {
        for feature in whole..to.len() {
            to[feature][i] = match i < count {
                true => rows.row(i)[feature] * scale,
                false => T::ZERO,
            };
        }
    }
}

/// Transposes the first `LEN` vectors, seen as a square, by perfect shuffles.
#[inline(always)]
fn transpose<S: Simd, T: Real>(mut block: [Lanes<S, T>; 16]) -> [Lanes<S, T>; 16] {
    let lanes = Lanes::<S, T>::LEN;
    assert!(lanes <= 16);
    let mut round = 1;
    while round < lanes {
        let mut shuffled = block;
        for i in 0..lanes / 2 {
            let (low, high) = block[i].interleave(block[i + lanes / 2]);
            shuffled[2 * i] = low;
            shuffled[2 * i + 1] = high;
        }
        block = shuffled;
        round *= 2;
    }
    block
}

/// Writes the part of a vector that a row has room for at `offset`.
#[inline(always)]
pub(crate) fn put<S: Simd, T: Real>(vector: Lanes<S, T>, row: &mut [T], offset: usize) {
    let lanes = Lanes::<S, T>::LEN;
    if offset + lanes <= row.len() {
        store::<S, T>(vector, &mut row[offset..]);
    } else {
        let rest = &mut row[offset..];
        rest.copy_from_slice(&vector.as_slice()[..rest.len()]);
    }
}

/// [`put`], added to what the row holds.
#[inline(always)]
pub(crate) fn add<S: Simd, T: Real>(simd: S, vector: Lanes<S, T>, row: &mut [T], offset: usize) {
    let lanes = Lanes::<S, T>::LEN;
    if offset + lanes <= row.len() {
        let sum = load::<S, T>(simd, &row[offset..]) + vector;
        store::<S, T>(sum, &mut row[offset..]);
    } else {
        for (to, from) in row[offset..].iter_mut().zip(vector.as_slice()) {
            *to += *from;
        }
    }
}

/// Rows whose width is a whole number of vectors: as they lie, if it is that already, else a copy
/// filled up with zeros.
#[inline(always)]
pub(crate) fn whole_vectors<'a, S: Simd, T: Real>(
    rows: Rows<'a, T>,
    count: usize,
    scratch: &'a mut Scratch<T>,
) -> Rows<'a, T> {
    match rows.width.is_multiple_of(Lanes::<S, T>::LEN) {
        true => rows,
        false => copied::<S, T>(rows, count, scratch),
    }
}

/// A copy of rows in aligned memory, filled up with zeros to a whole number of vectors.
#[inline(always)]
pub(crate) fn copied<'a, S: Simd, T: Real>(
    rows: Rows<'_, T>,
    count: usize,
    scratch: &'a mut Scratch<T>,
) -> Rows<'a, T> {
    let width = rows.width.next_multiple_of(Lanes::<S, T>::LEN);
    let copy = scratch.take(count * width);
    for (i, to) in copy.chunks_exact_mut(width.max(1)).enumerate() {
        let (to, rest) = to.split_at_mut(rows.width);
        to.copy_from_slice(rows.row(i));
        rest.fill(T::ZERO);
    }
    Rows {
        data: copy,
        step: width,
        width,
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    fn check<T: Real>(width: usize, count: usize) {
        let data: Vec<T> = (0..TILE * 70).map(|i| T::from_index(i as isize)).collect();
        let rows = Rows {
            data: &data,
            step: 70,
            width,
        };
        let mut to = vec![[T::from_f64(f64::NAN); TILE]; width];
        dispatch!(Level::new(), simd => transpose_rows(simd, rows, count, T::from_f64(2.0), &mut to));
        for (k, row) in to.iter().enumerate() {
            for (i, x) in row.iter().enumerate() {
                let expected = if i < count { 2 * (i * 70 + k) } else { 0 };
                assert_eq!(x.to_f64(), expected as f64, "width {width}, [{k}][{i}]");
            }
        }
    }

    #[test]
    fn a_tile_is_the_transpose_of_its_rows() {
        for width in [1, 4, 8, 32, 33, 64] {
            for count in [1, 7, 16, 31, 32] {
                check::<f32>(width, count);
                check::<f64>(width, count);
            }
        }
    }
}
