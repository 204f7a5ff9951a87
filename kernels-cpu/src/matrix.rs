//! Products of matrices that lie in a thread's own memory, in rows padded to whole cache lines.
//!
//! One kernel serves all three products of a linear layer: outputs (`rows · weights`), gradients of
//! inputs (`rows · weightsᵀ`, the weights transposed beforehand) and gradients of weights
//! (`rowsᵀ · rows`). It keeps a block of results in registers and reads one factor as vectors, the
//! other as single numbers that are spread over a vector.

use fearless_simd::prelude::*;

use crate::real::{Lanes, Real, load, splat, store};

/// Elements from one row to the next: an odd number of whole cache lines, so that a column of a
/// matrix does not fall on the same few lines of the cache.
pub(crate) const fn step<T>(width: usize) -> usize {
    let line = line::<T>();
    (width.div_ceil(line) | 1) * line
}

/// A matrix whose row `i` begins at `data[i · step]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub step: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of `width` numbers, padded as [`step`] says.
    pub fn padded(data: &'a [T], width: usize) -> Self {
        let step = step::<T>(width);
        Self { data, step }
    }

    /// The columns from `first` on.
    pub fn skip_columns(self, first: usize) -> Self {
        Self {
            data: &self.data[first..],
            ..self
        }
    }
}

/// Elements of a cache line.
pub(crate) const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// A factor of a product that is read as vectors: element `(k, j)` lies at
/// `k · term + ⌊j/line⌋ · panel + j mod line`, with `line` elements a cache line.
///
/// Those of weights are panels: a cache line of columns after another, each with all terms in a row. A
/// product goes down few columns at a time, which so lie side by side. In rows of a wide matrix every
/// one would be in a page of its own.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a, T> {
    data: &'a [T],
    term: usize,
    panel: usize,
}

impl<'a, T> Panels<'a, T> {
    /// Panels of `terms` terms, one after another.
    pub fn of(data: &'a [T], terms: usize) -> Self {
        Self {
            data,
            term: line::<T>(),
            panel: terms * line::<T>(),
        }
    }

    /// The columns from `first` on, a multiple of a cache line.
    pub fn skip_columns(self, first: usize) -> Self {
        debug_assert!(first.is_multiple_of(line::<T>()));
        Self {
            data: &self.data[first / line::<T>() * self.panel..],
            ..self
        }
    }
}

impl<'a, T> From<Matrix<'a, T>> for Panels<'a, T> {
    fn from(matrix: Matrix<'a, T>) -> Self {
        Self {
            data: matrix.data,
            term: matrix.step,
            panel: line::<T>(),
        }
    }
}

/// What the sums of a product begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a, T> {
    /// Zero.
    Zero,
    /// What the result holds.
    Result,
    /// The same row for all rows: a bias, padded to whole cache lines.
    Row(&'a [T]),
}

/// `result[i][j] = start + Σ_k left(i, k) · right[k][j]`, where `left(i, k)` is `left[k][i]` if
/// `TRANSPOSED`, else `left[i][k]`.
#[inline(never)]
pub(crate) fn product<'a, S: Simd, T: Real + 'a, const TRANSPOSED: bool>(
    simd: S,
    left: Matrix<'_, T>,
    right: impl Into<Panels<'a, T>>,
    start: Start<'_, T>,
    result: &mut [T],
    result_step: usize,
    [rows, columns, terms]: [usize; 3],
) {
    let right = right.into();
    simd.vectorize(
        #[inline(always)]
        || {
            let lanes = Lanes::<S, T>::LEN;
            let many = cfg!(target_arch = "aarch64") || lanes * size_of::<T>() >= 64;
            let mut work = Work {
                left,
                right,
                start,
                result,
                result_step,
                terms,
            };
            let columns = columns.next_multiple_of(line::<T>());
            let mut column = 0;
            while column < columns {
                // As many sums as leave a register for each vector and one for a number.
                let vectors = (columns - column) / lanes;
                let mut row = 0;
                while row < rows {
                    let left = rows - row;
                    row += match (vectors, left) {
                        (4.., 6..) if many => work.block::<S, TRANSPOSED, 6, 4>(simd, row, column),
                        (4.., 4..) if many => work.block::<S, TRANSPOSED, 4, 4>(simd, row, column),
                        (4.., _) if many => work.block::<S, TRANSPOSED, 1, 4>(simd, row, column),
                        (2.., 8..) if many => work.block::<S, TRANSPOSED, 8, 2>(simd, row, column),
                        (2.., 6 | 10..) => work.block::<S, TRANSPOSED, 6, 2>(simd, row, column),
                        (2.., 4..) => work.block::<S, TRANSPOSED, 4, 2>(simd, row, column),
                        (2.., _) => work.block::<S, TRANSPOSED, 1, 2>(simd, row, column),
                        (_, 8..) => work.block::<S, TRANSPOSED, 8, 1>(simd, row, column),
                        (_, _) => work.block::<S, TRANSPOSED, 1, 1>(simd, row, column),
                    };
                }
                column += lanes
                    * match vectors {
                        4.. if many => 4,
                        2.. => 2,
                        _ => 1,
                    };
            }
        },
    );
}

/// Asks for the cache line of a number that will be read soon.
#[inline(always)]
pub(crate) fn prefetch<T>(number: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, and it changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(number).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = number;
}

struct Work<'a, T> {
    left: Matrix<'a, T>,
    right: Panels<'a, T>,
    start: Start<'a, T>,
    result: &'a mut [T],
    result_step: usize,
    terms: usize,
}

impl<T: Real> Work<'_, T> {
    /// A block of `M` rows and `V` vectors; returns `M`.
    #[inline(always)]
    fn block<S: Simd, const TRANSPOSED: bool, const M: usize, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
    ) -> usize {
        let lanes = Lanes::<S, T>::LEN;
        let mut sums = [[splat::<S, T>(simd, T::ZERO); V]; M];
        match self.start {
            Start::Zero => {}
            Start::Result => {
                for m in 0..M {
                    let from = &self.result[(row + m) * self.result_step + column..][..V * lanes];
                    for v in 0..V {
                        sums[m][v] = load::<S, T>(simd, &from[v * lanes..]);
                    }
                }
                // The gradients of a wide layer are more than a core's second cache holds: asked for now,
                // the next block's are there when it begins.
                let ends = (0..V * lanes).step_by(line::<T>()).chain([V * lanes - 1]);
                for next in (M..2 * M).flat_map(|m| ends.clone().map(move |at| (m, at))) {
                    let place = (row + next.0) * self.result_step + column + next.1;
                    if let Some(number) = self.result.get(place) {
                        prefetch(number);
                    }
                }
            }
            Start::Row(bias) => {
                let from = &bias[column..][..V * lanes];
                for v in 0..V {
                    let vector = load::<S, T>(simd, &from[v * lanes..]);
                    for m in 0..M {
                        sums[m][v] = vector;
                    }
                }
            }
        }
        let Matrix { data, step } = self.left;
        let mut rows: [&[T]; M] = [&[]; M];
        if !TRANSPOSED {
            for m in 0..M {
                rows[m] = &data[(row + m) * step..][..self.terms];
            }
        }
        // Vectors of one cache line lie side by side.
        let Panels {
            data: all,
            term,
            panel,
        } = self.right;
        let a_line = (line::<T>() / lanes).min(V);
        let mut lines: [&[T]; V] = [&[]; V];
        for l in 0..V / a_line {
            let first = column + l * a_line * lanes;
            lines[l] = &all[first / line::<T>() * panel + first % line::<T>()..];
        }
        for k in 0..self.terms {
            let mut vectors = [splat::<S, T>(simd, T::ZERO); V];
            for l in 0..V / a_line {
                let own = &lines[l][k * term..][..a_line * lanes];
                for v in 0..a_line {
                    vectors[l * a_line + v] = load::<S, T>(simd, &own[v * lanes..]);
                }
            }
            let transposed: &[T] = match TRANSPOSED {
                true => &data[k * step + row..][..M],
                false => &[],
            };
            for m in 0..M {
                let factor = match TRANSPOSED {
                    true => transposed[m],
                    false => rows[m][k],
                };
                let factor = splat::<S, T>(simd, factor);
                for v in 0..V {
                    sums[m][v] = vectors[v].mul_add(factor, sums[m][v]);
                }
            }
        }
        for m in 0..M {
            let to = &mut self.result[(row + m) * self.result_step + column..][..V * lanes];
            for v in 0..V {
                store::<S, T>(sums[m][v], &mut to[v * lanes..]);
            }
        }
        M
    }
}

/// `result[j] += Σ_i rows[i][j]`
#[inline(always)]
pub(crate) fn add_columns<S: Simd, T: Real>(
    simd: S,
    rows: Matrix<'_, T>,
    count: usize,
    columns: usize,
    result: &mut [T],
) {
    let lanes = Lanes::<S, T>::LEN;
    for column in (0..columns).step_by(lanes) {
        let mut sum = load::<S, T>(simd, &result[column..]);
        for row in 0..count {
            sum += load::<S, T>(simd, &rows.data[row * rows.step + column..]);
        }
        store::<S, T>(sum, &mut result[column..]);
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    /// Products of small whole numbers are exact in any order.
    fn agrees<T: Real, const TRANSPOSED: bool>(rows: usize, columns: usize, terms: usize) {
        let number = |i: usize, j: usize, salt: usize| ((i * 7 + j * 5 + salt) % 11) as isize - 5;
        let fill = |height: usize, width: usize, salt: usize| {
            let step = step::<T>(width);
            let mut data = vec![T::ZERO; height * step];
            for i in 0..height {
                for j in 0..width {
                    data[i * step + j] = T::from_index(number(i, j, salt));
                }
            }
            data
        };
        let left = match TRANSPOSED {
            true => fill(terms, rows, 1),
            false => fill(rows, terms, 1),
        };
        let left = Matrix::padded(&left, if TRANSPOSED { rows } else { terms });
        let right = fill(terms, columns, 2);
        let bias = fill(1, columns, 3);
        for (start, own, biased) in [
            (Start::Zero, 0, 0),
            (Start::Result, 1, 0),
            (Start::Row(&bias), 0, 1),
        ] {
            let step = step::<T>(columns);
            let mut result = match start {
                Start::Result => fill(rows, columns, 4),
                _ => vec![T::from_f64(f64::NAN); rows * step],
            };
            let sizes = [rows, columns, terms];
            let right = Matrix::padded(&right, columns);
            dispatch!(Level::new(), simd => {
                product::<_, T, TRANSPOSED>(simd, left, right, start, &mut result, step, sizes)
            });
            for i in 0..rows {
                for j in 0..columns {
                    let factors = |k| match TRANSPOSED {
                        true => number(k, i, 1) * number(k, j, 2),
                        false => number(i, k, 1) * number(k, j, 2),
                    };
                    let sum: isize = (0..terms).map(factors).sum();
                    let exact = sum + own * number(i, j, 4) + biased * number(0, j, 3);
                    let found = result[i * step + j].to_f64();
                    assert_eq!(found, exact as f64, "{rows}×{columns}×{terms} [{i}][{j}]");
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for (rows, columns, terms) in [(1, 1, 1), (7, 5, 3), (8, 16, 4), (13, 48, 9), (64, 70, 64)]
        {
            agrees::<f32, false>(rows, columns, terms);
            agrees::<f32, true>(rows, columns, terms);
            agrees::<f64, false>(rows, columns, terms);
            agrees::<f64, true>(rows, columns, terms);
        }
    }

    #[test]
    fn rows_are_an_odd_number_of_cache_lines_apart() {
        assert_eq!(
            [step::<f32>(1), step::<f32>(64), step::<f32>(80)],
            [16, 80, 80]
        );
        assert_eq!([step::<f64>(64), step::<f64>(72)], [72, 72]);
    }
}
