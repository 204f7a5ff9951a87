//! Gradients of the windowed path joined with the landmarks (paper section 3.3).
//!
//! ```text
//! A  = exp(S − L)                                                   recomputed
//! dA = Z ∘ (dC [V̄ | V_window]ᵀ),   D = Σ_columns A ∘ dA,   dS = A ∘ (dA − D)
//! dQ = scale · dS [K̄ | K_window + R],   dR[offset] = scale · Σ dS · Q over pairs at that offset
//! [dK̄ | dK_window] = scale · dSᵀ Q,   [dV̄ | dV_window] = (A ∘ Z)ᵀ dC
//! ```
//!
//! `D` equals `Σ_d dC ∘ C`, but taken along the columns it needs no output. One thread takes a part
//! of a document; what parts add to the same rows (landmarks, bias, keys of a neighbour's part)
//! each writes to memory of its own, and [`merge`](crate::attend_merge) adds that up in order.

use crate::parallel::*;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use crate::attend::{Attend, STRIP};
use crate::attend_gradients::{
    Part, Target, add_to_queries, key_gradients, query_gradients, row_gradients,
};
use crate::attend_merge::{Partial, merge, merge_bias, merge_landmark_bias, merge_relative_keys};
use crate::attend_tile::{
    Columns, probabilities, row_dots, scale_all, score_gradients, sum_of, tile_dots,
};
use crate::documents::{Cut, Strip};
use crate::padded_bias::PaddedBias;
use crate::products::Terms;
use crate::real::Real;
use crate::sight::Sight;
use crate::tile::{Scratch, TILE, transpose_rows, whole_vectors};
use crate::view::{View, ViewMut};

/// Where [`attend_backward`](crate::attend_backward) writes; all of each is written, with zeros for
/// padded tokens. The last dimension of every tensor lies side by side.
#[derive(Debug)]
pub struct AttendGradients<'a, T> {
    /// `[b, h, n, d]`
    pub query: ViewMut<'a, T>,
    /// `[b, h, m, d]`
    pub key: ViewMut<'a, T>,
    /// `[b, h, m, d]`
    pub value: ViewMut<'a, T>,
    /// `[documents, h, r, d]`
    pub landmark_key: ViewMut<'a, T>,
    /// `[documents, h, r, d]`
    pub landmark_value: ViewMut<'a, T>,
    /// `[documents, h, r]` in row-major order; with a bias of landmarks among the inputs.
    pub landmark_bias: Option<&'a mut [T]>,
    /// `[h, entries]` in row-major order, wanted or not; only with a bias among the inputs.
    pub bias: Option<&'a mut [T]>,
    /// `[h, entries, d]` in row-major order, wanted or not; only with relative keys among the inputs.
    pub relative_keys: Option<&'a mut [T]>,
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
    let keys_shape = inputs.key.shape();
    let landmarks_shape = inputs.landmark_key.shape();
    d_output.assert_like("d_output", tokens_shape);
    gradients.query.assert_like("d_query", tokens_shape);
    gradients.key.assert_like("d_key", keys_shape);
    gradients.value.assert_like("d_value", keys_shape);
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
    if let Some(d_bias) = &gradients.bias {
        let bias = inputs.bias.map(<[T]>::len);
        assert_eq!(bias, Some(d_bias.len()), "the bias's length and d_bias's");
    }
    assert_eq!(
        gradients.relative_keys.as_ref().map(|keys| keys.len()),
        inputs.relative_keys.map(<[T]>::len),
        "the relative keys' length and their gradients'"
    );
    assert_eq!(
        gradients.landmark_bias.as_ref().map(|bias| bias.len()),
        inputs.landmark_bias.map(<[T]>::len),
        "the landmarks' bias's length and its gradient's"
    );
    let log_sum_exp = View::contiguous(log_sum_exp, [batch, heads, 1, sizes.tokens]);
    let layout = Partial::new(
        sizes,
        inputs.visibility,
        gradients.bias.is_some(),
        inputs.relative_keys.is_some(),
        inputs.landmark_bias.is_some(),
    );
    let documents = inputs.list(sizes);
    let cut = Cut::new(heads, sizes.width * size_of::<T>(), layout.part());
    let tasks = cut.tasks(&documents);
    let mut partials = vec![T::ZERO; tasks.len() * cut.group * layout.len()];
    let level = Level::new();
    let outputs = &*gradients;
    partials
        .par_chunks_exact_mut(cut.group * layout.len())
        .zip(&tasks)
        .for_each_init(Memory::default, |memory, (partials, task)| {
            let own = Part::new(task.tokens.clone(), &task.document, &inputs.visibility);
            for part in task.strips(STRIP) {
                let partial = &mut partials[part.number * layout.len()..][..layout.len()];
                let work = Work {
                    inputs,
                    d_output,
                    log_sum_exp,
                    gradients: outputs,
                    strip: &part,
                    part: &own,
                    layout,
                };
                dispatch!(level, simd => strip(simd, &work, partial, memory));
            }
        });
    let partials = cut.by_head(&documents, &partials, layout.len());
    merge(layout, &partials, outputs);
    if let Some(bias) = &mut gradients.bias {
        merge_bias(layout, &partials, bias);
    }
    if let Some(keys) = &mut gradients.relative_keys {
        merge_relative_keys(layout, &partials, keys);
    }
    if let Some(bias) = &mut gradients.landmark_bias {
        merge_landmark_bias(layout, &partials, heads, bias);
    }
}

/// What one thread works on, and with.
struct Work<'a, 'b, T> {
    inputs: &'a Attend<'a, T>,
    d_output: View<'a, T>,
    log_sum_exp: View<'a, T>,
    gradients: &'a AttendGradients<'b, T>,
    strip: &'a Strip<'a>,
    /// The task's part of the document.
    part: &'a Part,
    layout: Partial,
}

#[derive(Default)]
struct Memory<T> {
    query_transposed: Scratch<T>,
    d_output_transposed: Scratch<T>,
    /// Scores, then probabilities; the probabilities after dropout; their gradients.
    weights: Scratch<T>,
    dropped: Scratch<T>,
    d_weights: Scratch<T>,
    landmark_keys: Scratch<T>,
    keys: Scratch<T>,
    queries: Scratch<T>,
    d_outputs: Scratch<T>,
    bias: Scratch<T>,
    /// Products of queries with relative keys, a row an offset; then their gradients.
    relative: Scratch<T>,
    relative_keys: Scratch<T>,
    sight: Sight<T>,
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
    let visibility = inputs.visibility;
    let document = &strip.document;
    let (batch, head) = (document.batch, strip.head);
    let [_, heads, landmarks, d] = inputs.landmark_key.shape();
    let landmark_keys = inputs.landmark_key.rows(document.number, head, 0);
    let landmark_values = inputs.landmark_value.rows(document.number, head, 0);
    let whole_landmark_keys =
        whole_vectors::<S, T>(landmark_keys, landmarks, &mut memory.landmark_keys);
    let bias = PaddedBias::new(inputs.bias, head, heads, visibility, &mut memory.bias);
    let landmark_bias = inputs.landmark_bias(document.number, head);
    let places = bias.places;
    let (relative_keys, entries) = inputs.relative_keys(head);
    let offsets = entries.min(places.offsets());
    let whole_relative_keys =
        whole_vectors::<S, T>(relative_keys, entries, &mut memory.relative_keys);
    let dropout = inputs.tile_dropout(strip);
    let query_transposed = memory.query_transposed.take_rows(d);
    let d_output_transposed = memory.d_output_transposed.take_rows(d);
    for start in strip.tokens.clone().step_by(TILE) {
        let queries = start..(start + TILE).min(strip.tokens.end);
        let (at, count) = (document.start + start, queries.len());
        let new = part.first_seen(&visibility, queries.clone(), document);
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
        let sight = &mut memory.sight;
        sight.set(&visibility, queries.clone(), document.keys, landmarks);
        let sight = &*sight;
        let columns = Columns { landmarks, sight };
        let hull = sight.hull();
        let width = columns.count();
        let weights = memory.weights.take_rows(width);
        let d_weights = memory.d_weights.take_rows(width);
        let query = inputs.query.rows(batch, head, at);
        let d_output = work.d_output.rows(batch, head, at);
        let keys = |key| inputs.key.rows(batch, head, document.start + key);
        let values = |key| inputs.value.rows(batch, head, document.start + key);

        transpose_rows(
            simd,
            query,
            count,
            T::from_f64(inputs.scale),
            query_transposed,
        );
        transpose_rows(simd, d_output, count, T::ONE, d_output_transposed);
        tile_dots(
            simd,
            query_transposed,
            landmark_keys,
            keys,
            &columns,
            weights,
        );
        tile_dots(
            simd,
            d_output_transposed,
            landmark_values,
            values,
            &columns,
            d_weights,
        );
        let relative = memory.relative.take_rows(entries);
        row_dots(simd, query_transposed, relative_keys, relative);
        columns.add_to_landmarks(landmark_bias, &bias, relative, weights);
        columns.hide(simd, document, start, &bias, relative, weights);

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
        let kept = dropout.map(|dropout| dropout.of_queries(start, landmarks, visibility));
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
        for (to, row) in layout
            .landmark_bias_mut(partial)
            .iter_mut()
            .zip(&*d_weights)
        {
            *to += sum_of(row);
        }
        if gradients.bias.is_some() {
            let (totals, of_landmarks) = layout.bias_mut(partial);
            columns.add_bias_gradients(d_weights, of_landmarks);
            for run in sight.runs.iter().filter(|_| places.offsets() > 0) {
                let rows = &d_weights[columns.of_run(run)];
                for (key, row) in run.keys.clone().zip(rows) {
                    places.add(totals, start, key, row);
                }
            }
        }
        scale_all(simd, T::from_f64(inputs.scale), d_weights);

        let keys = whole_vectors::<S, T>(keys(hull.start), hull.len(), &mut memory.keys);
        let landmark_keys = whole_landmark_keys;
        query_gradients(simd, &columns, d_weights, landmark_keys, keys, d_query);
        if entries > 0 {
            relative.fill([T::ZERO; TILE]);
            let (of_window, of_landmarks) = relative.split_at_mut(offsets);
            columns.scatter_landmarks(d_weights, of_landmarks);
            for run in &sight.runs {
                for (key, row) in run.keys.clone().zip(&d_weights[columns.of_run(run)]) {
                    places.scatter(row, start, key, of_window);
                }
            }
            let terms = Terms {
                weights: relative,
                rows: whole_relative_keys,
                terms: 0..entries,
            };
            add_to_queries(simd, terms, 0..count, d_query);
        }
        let query = whole_vectors::<S, T>(query, count, &mut memory.queries);
        if entries > 0 {
            let to = layout.relative_keys_mut(partial);
            row_gradients(simd, relative, query, count, to, d);
        }
        let d_output = whole_vectors::<S, T>(d_output, count, &mut memory.d_outputs);
        let weights = match kept {
            None => &*weights,
            Some(_) => &*dropped,
        };
        for (side, to) in [&gradients.key, &gradients.value].into_iter().enumerate() {
            let (weights, rows) = [(&*d_weights, query), (weights, d_output)][side];
            let to = Target {
                layout,
                side,
                part,
                own: to.rows(
                    batch,
                    head,
                    document.start + part.keys.start,
                    part.keys.len(),
                ),
            };
            let to_landmarks = layout.landmarks_mut(partial, side);
            row_gradients(simd, &weights[..landmarks], rows, count, to_landmarks, d);
            key_gradients(
                simd,
                sight,
                &weights[landmarks..],
                rows,
                count,
                &to,
                partial,
            );
        }
    }
}
