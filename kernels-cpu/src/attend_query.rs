//! [`attend`](crate::attend) for one query of a text, as decoding asks it: without tiles, of which one
//! query would leave 31 lanes of 32 idle.

use fearless_simd::prelude::*;

use crate::attend::Attend;
use crate::exp::exp;
use crate::real::{Lanes, Real, load, splat, store};
use crate::tile::Scratch;
use crate::view::ViewMut;

/// What a thread uses again for every query.
#[derive(Default)]
pub(crate) struct Memory<T> {
    query: Scratch<T>,
    scores: Scratch<T>,
}

/// Attends for the only query of a batch row under a head: no mask, no dropout.
#[inline(always)]
pub(crate) fn attend_query<S: Simd, T: Real>(
    simd: S,
    inputs: &Attend<'_, T>,
    [batch, head]: [usize; 2],
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

    let query = memory.query.take(d);
    let scale = T::from_f64(inputs.scale);
    let queries = inputs.query.rows(batch, head, 0);
    for (to, from) in query.iter_mut().zip(queries.row(0)) {
        *to = *from * scale;
    }
    // A whole number of vectors: the last one's other lanes weigh nothing.
    let lanes = Lanes::<S, T>::LEN;
    let scores = memory.scores.take(count.next_multiple_of(lanes));
    scores[count..].fill(T::NEG_INFINITY);

    let entries = inputs.bias.map_or(0, |bias| bias.len() / heads);
    let bias = |entry: usize| match inputs.bias {
        Some(bias) if entry < entries => bias[head * entries + entry],
        _ => T::ZERO,
    };
    let (relative_keys, relative) = inputs.relative_keys(head);
    let by_offset = |entry: usize| (entry < relative).then(|| relative_keys.row(entry));
    let window_entries = visibility.window.offsets();
    let landmark_keys = inputs.landmark_key.rows(batch, head, 0);
    let landmark_bias = inputs.landmark_bias(batch, head);
    for landmark in 0..seen {
        let entry = window_entries + visibility.landmark_offset(0, landmark, landmarks);
        let own = landmark_bias.get(landmark).copied().unwrap_or(T::ZERO);
        scores[landmark] =
            dot(simd, query, landmark_keys.row(landmark), by_offset(entry)) + bias(entry) + own;
    }
    let window_keys = inputs.key.rows(batch, head, 0);
    for (score, key) in scores[seen..].iter_mut().zip(runs().flatten()) {
        let key_row = window_keys.row(key);
        let entry = visibility.offset(0, key);
        // A pattern without entries of its own may have those of landmarks.
        *score = match entry < window_entries {
            true => dot(simd, query, key_row, by_offset(entry)) + bias(entry),
            false => dot(simd, query, key_row, None),
        };
    }

    let max = scores
        .iter()
        .fold(T::NEG_INFINITY, |max, &score| match score > max {
            true => score,
            false => max,
        });
    // A query that sees nothing: exp(−∞ − 0) is 0, not NaN.
    let max = if max == T::NEG_INFINITY { T::ZERO } else { max };
    // SAFETY: this row and this number are this call's alone.
    let (row, log_sum) = unsafe {
        let to = output.rows(batch, head, 0, 1);
        (to.row(0), |value: T| {
            log_sum_exp.write_along_third([batch, head, 0, 0], &[value])
        })
    };
    row.fill(T::ZERO);
    let mut sum = splat::<S, T>(simd, T::ZERO);
    for chunk in scores.chunks_exact_mut(lanes) {
        let weight = exp::<S, T>(simd, load::<S, T>(simd, chunk) - splat::<S, T>(simd, max));
        store::<S, T>(weight, chunk);
        sum += weight;
    }
    let sum = sum.as_slice().iter().fold(T::ZERO, |sum, x| sum + *x);
    if sum == T::ZERO {
        log_sum(T::ZERO);
        return;
    }
    log_sum(max + sum.ln());
    let share = T::ONE / sum;
    let landmark_values = inputs.landmark_value.rows(batch, head, 0);
    let window_values = inputs.value.rows(batch, head, 0);
    let rows = (0..seen)
        .map(|landmark| landmark_values.row(landmark))
        .chain(runs().flatten().map(|key| window_values.row(key)));
    for (weight, value) in scores.iter().zip(rows) {
        add_scaled(simd, *weight * share, value, row);
    }
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
    let mut sum = sums.as_slice().iter().fold(T::ZERO, |sum, x| sum + *x);
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
