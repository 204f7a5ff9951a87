//! Gradients of the windowed path joined with the landmarks (paper section 3.3).
//!
//! ```text
//! A  = exp(S − L)                                                   recomputed
//! dA = Z ∘ (dC [V̄ | V_window]ᵀ),   D = Σ_columns A ∘ dA,   dS = A ∘ (dA − D)
//! dQ = scale · dS [K̄ | K_window]
//! [dK̄ | dK_window] = scale · dSᵀ Q,   [dV̄ | dV_window] = (A ∘ Z)ᵀ dC
//! ```
//!
//! `D` equals `Σ_d dC ∘ C`, but taken along the columns it needs no output. One thread takes a part
//! of a document; what parts add to the same rows (landmarks, bias, keys of a neighbour's part)
//! each writes to memory of its own, and [`merge`](crate::attend_merge) adds that up in order.

use std::ops::Range;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use crate::attend::{Attend, STRIP};
use crate::attend_merge::{Partial, merge, merge_bias};
use crate::attend_tile::{Columns, tile_dots};
use crate::documents::{Cut, Strip};
use crate::exp::exp;
use crate::padded_bias::PaddedBias;
use crate::products::{Terms, sums};
use crate::real::{Lanes, Real, load, splat, store};
use crate::tile::{Scratch, TILE, TileRow, add, put, turn, vectors, whole_vectors};
use crate::view::{Rows, RowsMut, View, ViewMut};
use crate::window::Window;

/// Where [`attend_backward`](crate::attend_backward) writes; all of each is written, with zeros for
/// padded tokens. The last dimension of every tensor lies side by side.
#[derive(Debug)]
pub struct AttendGradients<'a, T> {
    /// `[b, h, n, d]`
    pub query: ViewMut<'a, T>,
    /// `[b, h, n, d]`
    pub key: ViewMut<'a, T>,
    /// `[b, h, n, d]`
    pub value: ViewMut<'a, T>,
    /// `[documents, h, r, d]`
    pub landmark_key: ViewMut<'a, T>,
    /// `[documents, h, r, d]`
    pub landmark_value: ViewMut<'a, T>,
    /// `[h, 2·reach + 1]` in row-major order, wanted or not; only with a bias among the inputs.
    pub bias: Option<&'a mut [T]>,
}

/// Gradients of [`attend`](crate::attend). Its output is not needed.
///
/// # Shapes
///
/// - d_output: `[b, h, n, d]`, the last dimension side by side; log_sum_exp: `[b, h, n]` in
///   row-major order, as `attend` gave it
///
/// # Panics
///
/// Panics if shapes or documents do not fit each other.
pub fn attend_backward<T: Real>(
    inputs: &Attend<'_, T>,
    d_output: View<'_, T>,
    log_sum_exp: &[T],
    gradients: &mut AttendGradients<'_, T>,
) {
    let sizes = inputs.sizes();
    let (batch, heads) = (sizes.batch, sizes.heads);
    let tokens_shape = inputs.query.shape();
    let landmarks_shape = inputs.landmark_key.shape();
    d_output.assert_like("d_output", tokens_shape);
    gradients.query.assert_like("d_query", tokens_shape);
    gradients.key.assert_like("d_key", tokens_shape);
    gradients.value.assert_like("d_value", tokens_shape);
    gradients
        .landmark_key
        .assert_like("d_landmark_key", landmarks_shape);
    gradients
        .landmark_value
        .assert_like("d_landmark_value", landmarks_shape);
    assert_eq!(
        log_sum_exp.len(),
        batch * heads * sizes.tokens,
        "the log-sum-exp's length, b·h·n"
    );
    let log_sum_exp = View::contiguous(log_sum_exp, [batch, heads, 1, sizes.tokens]);
    let window = Window::new(inputs.window);
    let layout = Partial::new(sizes, window, gradients.bias.is_some());
    let documents = inputs.documents.list(batch, sizes.tokens);
    let cut = Cut::new(heads, sizes.width * size_of::<T>(), layout.part());
    let tasks = cut.tasks(&documents);
    let mut partials = vec![T::ZERO; tasks.len() * cut.group * layout.len()];
    let level = Level::new();
    let outputs = &*gradients;
    partials
        .par_chunks_exact_mut(cut.group * layout.len())
        .zip(&tasks)
        .for_each_init(Memory::new, |memory, (partials, task)| {
            for part in task.strips(STRIP) {
                let partial = &mut partials[part.number * layout.len()..][..layout.len()];
                let work = Work {
                    inputs,
                    d_output,
                    log_sum_exp,
                    gradients: outputs,
                    strip: &part,
                    part: &task.tokens,
                    layout,
                };
                dispatch!(level, simd => strip(simd, &work, partial, memory));
            }
        });
    let partials = cut.by_head(&documents, &partials, layout.len());
    merge(layout, &partials, outputs);
    if let Some(bias) = &mut gradients.bias {
        assert!(
            inputs.bias.is_some(),
            "a gradient of a bias that is not there"
        );
        merge_bias(layout, &partials, bias);
    }
}

/// What one thread works on, and with.
struct Work<'a, 'b, T> {
    inputs: &'a Attend<'a, T>,
    d_output: View<'a, T>,
    log_sum_exp: View<'a, T>,
    gradients: &'a AttendGradients<'b, T>,
    strip: &'a Strip<'a>,
    /// The part of the document whose keys are the task's own.
    part: &'a Range<usize>,
    layout: Partial,
}

struct Memory<T> {
    query_turned: Scratch<T>,
    d_output_turned: Scratch<T>,
    /// Scores, then probabilities; the probabilities after dropout; their gradients.
    weights: Scratch<T>,
    dropped: Scratch<T>,
    d_weights: Scratch<T>,
    landmark_keys: Scratch<T>,
    keys: Scratch<T>,
    queries: Scratch<T>,
    d_outputs: Scratch<T>,
    bias: Scratch<T>,
}

impl<T: Real> Memory<T> {
    fn new() -> Self {
        Self {
            query_turned: Scratch::new(),
            d_output_turned: Scratch::new(),
            weights: Scratch::new(),
            dropped: Scratch::new(),
            d_weights: Scratch::new(),
            landmark_keys: Scratch::new(),
            keys: Scratch::new(),
            queries: Scratch::new(),
            d_outputs: Scratch::new(),
            bias: Scratch::new(),
        }
    }
}

#[inline(always)]
fn strip<S: Simd, T: Real>(
    simd: S,
    work: &Work<'_, '_, T>,
    partial: &mut [T],
    memory: &mut Memory<T>,
) {
    let Work {
        inputs,
        strip,
        part,
        gradients,
        layout,
        ..
    } = *work;
    let window = Window::new(inputs.window);
    let document = &strip.document;
    let (batch, head) = (document.batch, strip.head);
    let [_, _, landmarks, d] = inputs.landmark_key.shape();
    let landmark_keys = inputs.landmark_key.rows(document.number, head, 0);
    let landmark_values = inputs.landmark_value.rows(document.number, head, 0);
    let whole_landmark_keys =
        whole_vectors::<S, T>(landmark_keys, landmarks, &mut memory.landmark_keys);
    let bias = PaddedBias::new(inputs.bias, head, window, &mut memory.bias);
    let dropout = inputs.tile_dropout(strip);
    let query_turned = memory.query_turned.take_rows(d);
    let d_output_turned = memory.d_output_turned.take_rows(d);
    for start in strip.tokens.clone().step_by(TILE) {
        let queries = start..(start + TILE).min(strip.tokens.end);
        let (at, count) = (document.start + start, queries.len());
        let new = first_seen(window, part, queries.clone(), document.len);
        for to in [&gradients.key, &gradients.value] {
            let to = to.rows(batch, head, document.start + new.start, new.len());
            // SAFETY: the rows of the part under this head are this call's alone.
            unsafe { to.clear() };
        }
        let d_query = gradients.query.rows(batch, head, at, count);
        if !document.has_real(queries.clone()) {
            // SAFETY: as above.
            unsafe { d_query.clear() };
            continue;
        }
        let sight = window.sight::<T>(queries.clone(), document.len);
        let columns = Columns {
            landmarks,
            sight: &sight,
        };
        let first_key = document.start + sight.keys.start;
        let width = landmarks + sight.keys.len();
        let weights = memory.weights.take_rows(width);
        let d_weights = memory.d_weights.take_rows(width);
        let query = inputs.query.rows(batch, head, at);
        let d_output = work.d_output.rows(batch, head, at);
        let keys = inputs.key.rows(batch, head, first_key);
        let values = inputs.value.rows(batch, head, first_key);

        turn(simd, query, count, T::from_f64(inputs.scale), query_turned);
        turn(simd, d_output, count, T::ONE, d_output_turned);
        tile_dots(simd, query_turned, landmark_keys, keys, &columns, weights);
        tile_dots(
            simd,
            d_output_turned,
            landmark_values,
            values,
            &columns,
            d_weights,
        );
        columns.hide(simd, document, start, &bias, weights);

        // A lane without a real query: exp(s − ∞) is 0, so that nothing comes of it.
        let mut log_sums = [T::INFINITY; TILE];
        for (lane, token) in queries.clone().enumerate() {
            if document.is_real(token) {
                log_sums[lane] = work.log_sum_exp.at([batch, head, 0, at + lane]);
            }
        }
        columns.clear::<S>(simd, weights);
        columns.clear::<S>(simd, d_weights);
        probabilities(simd, &columns, &log_sums, weights);
        let kept = dropout.map(|dropout| dropout.of_queries(start, landmarks, window, &sight));
        let dropped = match &kept {
            None => &mut [],
            Some(kept) => {
                let dropped = memory.dropped.take_rows(width);
                dropped.copy_from_slice(weights);
                columns.drop(simd, kept, dropped);
                columns.drop(simd, kept, d_weights);
                dropped
            }
        };
        score_gradients(simd, weights, d_weights);
        if gradients.bias.is_some() {
            let totals = layout.bias_mut(partial);
            for (i, row) in d_weights[landmarks..].iter().enumerate() {
                let column = bias.column(start, sight.keys.start + i);
                for (total, d_score) in totals[column..].iter_mut().zip(row) {
                    *total += *d_score;
                }
            }
        }
        scale_all(simd, T::from_f64(inputs.scale), d_weights);

        let keys = whole_vectors::<S, T>(keys, sight.keys.len(), &mut memory.keys);
        query_gradients(
            simd,
            &columns,
            d_weights,
            whole_landmark_keys,
            keys,
            count,
            d_query,
        );
        let query = whole_vectors::<S, T>(query, count, &mut memory.queries);
        let d_output = whole_vectors::<S, T>(d_output, count, &mut memory.d_outputs);
        let weights = match kept {
            None => &*weights,
            Some(_) => &*dropped,
        };
        let sides = [
            (&*d_weights, query, &gradients.key, 0),
            (weights, d_output, &gradients.value, 1),
        ];
        for (weights, rows, to, side) in sides {
            let own_rows = to.rows(batch, head, document.start + part.start, part.len());
            let terms = Terms {
                weights,
                rows,
                terms: 0..count,
            };
            sums::<S, T, false, 1>(
                simd,
                [terms],
                0..landmarks,
                #[inline(always)]
                |landmark, offset, sum| {
                    let row = layout.landmark_mut(partial, side, landmark);
                    add::<S, T>(simd, sum, row, offset);
                },
            );
            key_gradients(
                simd,
                &columns,
                &weights[landmarks..],
                rows,
                count,
                #[inline(always)]
                |key, offset, sum| {
                    let key = sight.keys.start + key;
                    let row = if part.contains(&key) {
                        // SAFETY: as above.
                        unsafe { own_rows.row(key - part.start) }
                    } else {
                        layout.border_mut(partial, side, part, key)
                    };
                    add::<S, T>(simd, sum, row, offset);
                },
            );
        }
    }
}

/// Keys of a part that no tile before this one has seen, up to the last that this one sees: their
/// gradients begin here. The last tile takes all that are left.
fn first_seen(
    window: Window,
    part: &Range<usize>,
    queries: Range<usize>,
    len: usize,
) -> Range<usize> {
    let seen = |end: usize| match end {
        end if end == part.start || end == part.end => end,
        end => window.keys(part.start..end, len).end.clamp(end, part.end),
    };
    seen(queries.start)..seen(queries.end)
}

/// Turns scores into probabilities.
#[inline(always)]
fn probabilities<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    log_sums: &TileRow<T>,
    scores: &mut [TileRow<T>],
) {
    for v in 0..vectors::<S, T>() {
        let at = v * Lanes::<S, T>::LEN;
        let log_sum = load::<S, T>(simd, &log_sums[at..]);
        let (landmarks, window) = columns.split_mut::<S>(scores, v);
        for row in landmarks.iter_mut().chain(window) {
            let score = load::<S, T>(simd, &row[at..]);
            store::<S, T>(exp::<S, T>(simd, score - log_sum), &mut row[at..]);
        }
    }
}

/// Turns gradients for probabilities into gradients for scores.
#[inline(always)]
fn score_gradients<S: Simd, T: Real>(
    simd: S,
    weights: &[TileRow<T>],
    d_weights: &mut [TileRow<T>],
) {
    for v in 0..vectors::<S, T>() {
        let at = v * Lanes::<S, T>::LEN;
        let mut delta = splat::<S, T>(simd, T::ZERO);
        for (weight, d_weight) in weights.iter().zip(&*d_weights) {
            let d_weight = load::<S, T>(simd, &d_weight[at..]);
            delta = load::<S, T>(simd, &weight[at..]).mul_add(d_weight, delta);
        }
        for (weight, d_weight) in weights.iter().zip(&mut *d_weights) {
            let difference = load::<S, T>(simd, &d_weight[at..]) - delta;
            let d_score = load::<S, T>(simd, &weight[at..]) * difference;
            store::<S, T>(d_score, &mut d_weight[at..]);
        }
    }
}

#[inline(always)]
fn scale_all<S: Simd, T: Real>(simd: S, scale: T, rows: &mut [TileRow<T>]) {
    for row in rows {
        for v in 0..vectors::<S, T>() {
            let at = v * Lanes::<S, T>::LEN;
            store::<S, T>(load::<S, T>(simd, &row[at..]) * scale, &mut row[at..]);
        }
    }
}

/// Writes `d_scores · [landmark keys | window keys]` for each of the first `count` queries.
#[inline(always)]
fn query_gradients<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    d_scores: &[TileRow<T>],
    landmark_keys: Rows<'_, T>,
    keys: Rows<'_, T>,
    count: usize,
    d_query: RowsMut<'_, T>,
) {
    let (of_landmarks, of_window) = d_scores.split_at(columns.landmarks);
    columns.for_blocks::<S>(
        count,
        #[inline(always)]
        |queries, seen| {
            let terms = [
                Terms {
                    weights: of_landmarks,
                    rows: landmark_keys,
                    terms: 0..columns.landmarks,
                },
                Terms {
                    weights: of_window,
                    rows: keys,
                    terms: seen,
                },
            ];
            sums::<S, T, true, 2>(
                simd,
                terms,
                queries,
                #[inline(always)]
                |lane, offset, sum| {
                    // SAFETY: these queries under this head are this call's alone, and each row's
                    // last reference is gone.
                    put::<S, T>(sum, unsafe { d_query.row(lane) }, offset);
                },
            );
        },
    );
}

/// Hands `Σ_query weights[key][query] · rows[query]` over for every key of the tile's sight.
#[inline(always)]
fn key_gradients<S: Simd, T: Real>(
    simd: S,
    columns: &Columns<'_, T>,
    weights: &[TileRow<T>],
    rows: Rows<'_, T>,
    count: usize,
    mut finish: impl FnMut(usize, usize, Lanes<S, T>),
) {
    const KEYS: usize = 8;
    let mut from = 0;
    for first in (0..weights.len()).step_by(KEYS) {
        let keys = first..(first + KEYS).min(weights.len());
        let queries = columns.sight.of_keys(keys.clone(), from);
        from = queries.start;
        let terms = Terms {
            weights,
            rows,
            terms: queries.start.min(count)..queries.end.min(count),
        };
        sums::<S, T, false, 1>(
            simd,
            [terms],
            keys,
            #[inline(always)]
            |key, offset, sum| finish(key, offset, sum),
        );
    }
}
