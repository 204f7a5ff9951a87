//! [`attend`](crate::attend) for one query of a text, as decoding asks it: without tiles, of which one
//! query would leave 31 lanes of 32 idle.

use fearless_simd::prelude::*;

use crate::attend::Attend;
use crate::exp::exp;
use crate::real::{Lanes, Real, load, splat, store};
use crate::tile::Scratch;
use crate::view::{Rows, ViewMut};

/// What a thread uses again for every query.
#[derive(Default)]
pub(crate) struct Memory<T> {
    /// The scaled queries of all heads, side by side.
    query: Scratch<T>,
    /// A row for each head, of a whole number of vectors.
    scores: Scratch<T>,
}

/// Attends for the only query of a batch row, under all heads: no mask, no dropout.
///
/// Keys are the outer loop: in memory `[b, n, h, d]` a key's heads lie side by side, and reading them is
/// what takes the time.
#[inline(always)]
pub(crate) fn attend_query<S: Simd, T: Real>(
    simd: S,
    inputs: &Attend<'_, T>,
    batch: usize,
    output: &ViewMut<'_, T>,
    log_sum_exp: &ViewMut<'_, T>,
    memory: &mut Memory<T>,
) {
    let visibility = &inputs.visibility;
    let [_, heads, keys, d] = inputs.key.shape();
    let landmarks = inputs.landmark_key.shape()[2];
    let seen = visibility.landmarks_of(0, landmarks);
    let runs = || {
        visibility
            .runs(0..1, keys)
            .map(|run| visibility.keys_of(0, &run, keys))
    };
    let count = seen + runs().map(|run| run.len()).sum::<usize>();

    let query = memory.query.take(heads * d);
    let scale = T::from_f64(inputs.scale);
    for head in 0..heads {
        let row = inputs.query.rows(batch, head, 0).row(0);
        for (to, from) in query[head * d..].iter_mut().zip(row) {
            *to = *from * scale;
        }
    }
    // The last vector's other lanes weigh nothing.
    let lanes = Lanes::<S, T>::LEN;
    let step = count.next_multiple_of(lanes);
    let scores = memory.scores.take(heads * step);

    let [bias, relative_keys] = [inputs.bias, inputs.relative_keys].map(Option::unwrap_or_default);
    let text = Text {
        query,
        bias,
        bias_entries: bias.len() / heads,
        relative_keys,
        relative_entries: relative_keys.len() / (heads * d).max(1),
    };
    let window_entries = visibility.window.offsets();
    for landmark in 0..seen {
        let entry = window_entries + visibility.landmark_offset(0, landmark, landmarks);
        for head in 0..heads {
            let own = inputs.landmark_bias(batch, head).get(landmark);
            let own = own.copied().unwrap_or(T::ZERO);
            let keys = inputs.landmark_key.rows(batch, head, landmark);
            scores[head * step + landmark] = own + text.score(simd, head, keys, Some(entry));
        }
    }
    let mut column = seen;
    for run in runs() {
        let first = visibility.offset(0, run.start);
        for (index, key) in run.enumerate() {
            // From key to key of a run the offset falls by one. A pattern without entries of its own may
            // have those of landmarks.
            let entry = Some(first.wrapping_sub(index)).filter(|entry| *entry < window_entries);
            for head in 0..heads {
                let keys = inputs.key.rows(batch, head, key);
                scores[head * step + column] = text.score(simd, head, keys, entry);
            }
            column += 1;
        }
    }

    for head in 0..heads {
        let scores = &mut scores[head * step..][..step];
        scores[count..].fill(T::NEG_INFINITY);
        let log_sum = softmax(simd, scores);
        // SAFETY: this row and this number are this call's alone.
        unsafe {
            output.rows(batch, head, 0, 1).clear();
            log_sum_exp.write_along_third([batch, head, 0, 0], &[log_sum]);
        }
    }
    let of_landmarks = (0..seen).map(|landmark| (inputs.landmark_value, landmark));
    let of_keys = runs().flatten().map(|key| (inputs.value, key));
    for (column, (value, row)) in of_landmarks.chain(of_keys).enumerate() {
        for head in 0..heads {
            let value = value.rows(batch, head, row).row(0);
            // SAFETY: as above, and the last reference to this row is gone.
            let to = unsafe { output.rows(batch, head, 0, 1).row(0) };
            add_scaled(simd, scores[head * step + column], value, to);
        }
    }
}

/// A batch row's scaled queries, and the tables by offset; all of them head by head.
struct Text<'a, T> {
    query: &'a [T],
    bias: &'a [T],
    bias_entries: usize,
    relative_keys: &'a [T],
    relative_entries: usize,
}

impl<T: Real> Text<'_, T> {
    /// A head's score of the first of these keys, at an entry of the tables if there is one.
    #[inline(always)]
    fn score<S: Simd>(&self, simd: S, head: usize, keys: Rows<'_, T>, entry: Option<usize>) -> T {
        let key = keys.row(0);
        let d = key.len();
        let query = &self.query[head * d..][..d];
        let by_offset = entry
            .filter(|entry| *entry < self.relative_entries)
            .map(|entry| &self.relative_keys[(head * self.relative_entries + entry) * d..][..d]);
        let score = dot(simd, query, key, by_offset);
        match entry {
            Some(entry) if entry < self.bias_entries => {
                score + self.bias[head * self.bias_entries + entry]
            }
            _ => score,
        }
    }
}

/// Turns scores, a whole number of vectors, into probabilities; gives the log-sum-exp. A query that sees
/// nothing has zeros.
#[inline(always)]
fn softmax<S: Simd, T: Real>(simd: S, scores: &mut [T]) -> T {
    let lanes = Lanes::<S, T>::LEN;
    let max = scores
        .iter()
        .fold(T::NEG_INFINITY, |max, &score| match score > max {
            true => score,
            false => max,
        });
    // exp(−∞ − 0) is 0, not NaN.
    let max = if max == T::NEG_INFINITY { T::ZERO } else { max };
    let mut sum = splat::<S, T>(simd, T::ZERO);
    for chunk in scores.chunks_exact_mut(lanes) {
        let weight = exp::<S, T>(simd, load::<S, T>(simd, chunk) - splat::<S, T>(simd, max));
        store::<S, T>(weight, chunk);
        sum += weight;
    }
    let sum = sum.reduce_sum();
    if sum == T::ZERO {
        return T::ZERO;
    }
    let share = splat::<S, T>(simd, T::ONE / sum);
    for chunk in scores.chunks_exact_mut(lanes) {
        store::<S, T>(load::<S, T>(simd, chunk) * share, chunk);
    }
    max + sum.ln()
}

/// `x · (y + z)`
#[inline(always)]
fn dot<S: Simd, T: Real>(simd: S, x: &[T], y: &[T], z: Option<&[T]>) -> T {
    let lanes = Lanes::<S, T>::LEN;
    let whole = x.len() - x.len() % lanes;
    let mut sums = splat::<S, T>(simd, T::ZERO);
    for at in (0..whole).step_by(lanes) {
        let mut y = load::<S, T>(simd, &y[at..]);
        if let Some(z) = z {
            y += load::<S, T>(simd, &z[at..]);
        }
        sums = load::<S, T>(simd, &x[at..]).mul_add(y, sums);
    }
    let mut sum = sums.reduce_sum();
    for at in whole..x.len() {
        sum += x[at] * (y[at] + z.map_or(T::ZERO, |z| z[at]));
    }
    sum
}

/// `to += factor · row`
#[inline(always)]
fn add_scaled<S: Simd, T: Real>(simd: S, factor: T, row: &[T], to: &mut [T]) {
    let lanes = Lanes::<S, T>::LEN;
    let whole = row.len() - row.len() % lanes;
    let factors = splat::<S, T>(simd, factor);
    for at in (0..whole).step_by(lanes) {
        let sum = load::<S, T>(simd, &to[at..]);
        let sum = load::<S, T>(simd, &row[at..]).mul_add(factors, sum);
        store::<S, T>(sum, &mut to[at..]);
    }
    for at in whole..row.len() {
        to[at] += factor * row[at];
    }
}
