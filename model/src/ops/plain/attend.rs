//! The windowed path joined with the landmarks (paper section 3.3): one softmax per query.
//!
//! ```text
//! S  = scale · Q [K̄ + R̄ | K_window + R]ᵀ (+ bias)  A = softmax S,   L = log Σ exp S
//! C  = A [V̄ | V_window]                        (dropout: A ∘ Z, Z = 0 or 1/(1 − p))
//! dS = A ∘ (Z ∘ dC [V̄ | V_window]ᵀ − D),       D = Σ_d dC ∘ C
//! ```
//!
//! The backward pass recomputes `A = exp(S − L)`.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;
use transformer_ls_kernels::{LandmarksSeen, dropout};

use super::groups::Groups;
use super::wide::Wide;
use crate::ops::{
    AttendArgs, AttendBackwardArgs, AttendGradients, AttentionDropout, Boundaries, Documents,
    Landmarks, OptionalTensor, Visibility,
};

/// See [`LongShortBackend::attend`](crate::ops::LongShortBackend::attend).
///
/// # Panics
///
/// Panics if the window is off and there are no landmarks.
pub fn attend<B: Backend>(args: AttendArgs<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let dtype = args.query.dtype();
    let (rows, documents) = Call::new(args);
    let (output, log_sum_exp) = match documents {
        Documents::Full => rows.attend(None),
        Documents::Padded(mask) => rows.attend(Some(mask)),
        Documents::Packed(boundaries) => {
            let (outputs, sums) = rows
                .documents(&boundaries)
                .map(|document| document.attend(None))
                .unzip();
            (Wide::cat(outputs, 2), Wide::cat(sums, 2))
        }
    };
    let [b, h, n, _] = log_sum_exp.dims();
    (
        output.narrow_to(dtype),
        log_sum_exp.detach().reshape([b, h, n]).into_inner(),
    )
}

/// See [`LongShortBackend::attend_backward`](crate::ops::LongShortBackend::attend_backward).
///
/// # Panics
///
/// As [`attend`].
pub fn attend_backward<B: Backend>(args: AttendBackwardArgs<B>) -> AttendGradients<B> {
    let dtype = args.inputs.query.dtype();
    let (rows, documents) = Call::new(args.inputs);
    let d_output = Wide::<B>::widen(args.d_output);
    let output = Wide::widen(args.output);
    let [b, h, n, _] = output.dims();
    let log_sum_exp = Wide::widen(args.log_sum_exp).reshape([b, h, n, 1]);
    let gradients = match documents {
        Documents::Full => rows.backward(d_output, output, log_sum_exp, None),
        Documents::Padded(mask) => rows.backward(d_output, output, log_sum_exp, Some(mask)),
        Documents::Packed(boundaries) => {
            let part = |x: &Wide<B>, range: &std::ops::Range<usize>| {
                x.clone().narrow(2, range.start, range.len())
            };
            let parts = boundaries
                .ranges()
                .filter(|range| !range.is_empty())
                .zip(rows.documents(&boundaries))
                .map(|(range, document)| {
                    document.backward(
                        part(&d_output, &range),
                        part(&output, &range),
                        part(&log_sum_exp, &range),
                        None,
                    )
                })
                .collect();
            Gradients::join(&rows, parts, &boundaries)
        }
    };
    AttendGradients {
        query: gradients.query.narrow_to(dtype),
        key: gradients.key.narrow_to(dtype),
        value: gradients.value.narrow_to(dtype),
        landmarks: match gradients.landmarks {
            Some((key, value)) => Landmarks::Rows {
                key: key.narrow_to(dtype),
                value: value.narrow_to(dtype),
            },
            None => Landmarks::None,
        },
        landmark_bias: OptionalTensor::from_option(
            gradients.landmark_bias.map(|bias| bias.narrow_to(dtype)),
        ),
        bias: OptionalTensor::from_option(gradients.bias.map(|table| table.narrow_to(dtype))),
        relative_keys: OptionalTensor::from_option(
            gradients.relative_keys.map(|table| table.narrow_to(dtype)),
        ),
    }
}

/// What attention over a batch with one document a row needs.
struct Call<B: Backend> {
    query: Wide<B>,
    key: Wide<B>,
    value: Wide<B>,
    landmarks: Option<(Wide<B>, Wide<B>)>,
    landmark_bias: Option<Wide<B>>,
    bias: Option<Tables<B>>,
    relative_keys: Option<Tables<B>>,
    visibility: Visibility,
    groups: Option<Groups>,
    scale: f64,
    dropout: AttentionDropout,
    /// Number of the first document, which dropout counts from.
    first_document: usize,
}

/// A table by offset, `[h, entries, …]`, in its parts.
#[derive(Clone)]
struct Tables<B: Backend> {
    window: Option<Wide<B>>,
    landmarks: Option<Wide<B>>,
}

impl<B: Backend> Tables<B> {
    const NONE: Self = Self {
        window: None,
        landmarks: None,
    };

    fn new(table: Wide<B>, visibility: &Visibility, rank: usize) -> Self {
        let shape = table.clone().into_inner().shape();
        let (offsets, entries) = (visibility.window.offsets(), shape[1]);
        debug_assert_eq!(shape.num_dims(), rank);
        let part = |start: usize, length: usize| {
            (length > 0).then(|| table.clone().narrow(1, start, length))
        };
        Self {
            window: part(0, offsets),
            landmarks: part(offsets, entries - offsets),
        }
    }

    fn join(self) -> Option<Wide<B>> {
        let parts: Vec<_> = [self.window, self.landmarks]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| Wide::cat(parts, 1))
    }
}

struct Gradients<B: Backend> {
    query: Wide<B>,
    key: Wide<B>,
    value: Wide<B>,
    landmarks: Option<(Wide<B>, Wide<B>)>,
    landmark_bias: Option<Wide<B>>,
    bias: Option<Wide<B>>,
    relative_keys: Option<Wide<B>>,
}

/// Scores of both kinds and what their products need again.
struct Scores<B: Backend> {
    /// Scaled queries `[b, h, n, d]`.
    query: Wide<B>,
    /// `[b, h, n, r]`
    landmarks: Option<Wide<B>>,
    /// `[b, h, groups, size, span]`, and the windows' keys `[b, h, groups, span, d]`.
    window: Option<(Wide<B>, Wide<B>)>,
}

impl<B: Backend> Call<B> {
    fn new(args: AttendArgs<B>) -> (Self, Documents<B>) {
        let (query, key) = (Wide::<B>::widen(args.query), Wide::<B>::widen(args.key));
        let ([_, _, n, _], [_, _, m, _]) = (query.dims(), key.dims());
        let landmarks = match args.landmarks {
            Landmarks::None => None,
            Landmarks::Rows { key, value } => Some((Wide::widen(key), Wide::widen(value))),
        };
        let groups = Groups::new(args.visibility, n, m);
        assert!(
            landmarks.is_some() || groups.is_some(),
            "attention without window and without landmarks sees nothing"
        );
        let rows = Self {
            query,
            key,
            value: Wide::widen(args.value),
            landmarks,
            landmark_bias: args.landmark_bias.into_option().map(Wide::widen),
            bias: (args.bias.into_option())
                .map(|table| Tables::new(Wide::widen(table), &args.visibility, 2)),
            relative_keys: (args.relative_keys.into_option())
                .map(|table| Tables::new(Wide::widen(table), &args.visibility, 3)),
            visibility: args.visibility,
            groups,
            scale: args.scale,
            dropout: args.dropout,
            first_document: 0,
        };
        (rows, args.documents)
    }

    /// Each document of a packed batch that has tokens, as a batch of its own.
    fn documents<'a>(&'a self, boundaries: &'a Boundaries) -> impl Iterator<Item = Self> + 'a {
        boundaries
            .ranges()
            .enumerate()
            .filter(|(_, range)| !range.is_empty())
            .map(move |(document, range)| {
                let part = |x: &Wide<B>| x.clone().narrow(2, range.start, range.len());
                let own = |x: &Wide<B>| x.clone().narrow(0, document, 1);
                Self {
                    query: part(&self.query),
                    key: part(&self.key),
                    value: part(&self.value),
                    landmarks: self
                        .landmarks
                        .as_ref()
                        .map(|(key, value)| (own(key), own(value))),
                    landmark_bias: self.landmark_bias.as_ref().map(own),
                    bias: self.bias.clone(),
                    relative_keys: self.relative_keys.clone(),
                    visibility: self.visibility,
                    groups: Groups::new(self.visibility, range.len(), range.len()),
                    scale: self.scale,
                    dropout: self.dropout,
                    first_document: document,
                }
            })
    }

    /// Scores before the softmax, hidden keys far below all others.
    fn scores(&self, real: Option<&Wide<B>>) -> Scores<B> {
        let query = self.query.clone().scale(self.scale);
        let landmarks = self.landmarks.as_ref().map(|(key, _)| {
            let mut scores = query.clone().matmul(key.clone().transpose());
            if let Some(bias) = &self.landmark_bias {
                let [documents, h, r] = bias.dims();
                scores = scores.add(bias.clone().reshape([documents, h, 1, r]));
            }
            if let Some(table) = self.bias.as_ref().and_then(|bias| bias.landmarks.clone()) {
                let [h, r] = table.dims();
                let by_offset = self.ones_like_queries().mul(table.reshape([1, h, 1, r]));
                scores = scores.add(self.by_landmark(by_offset));
            }
            if let Some(keys) = self.landmark_relative_keys() {
                let own = query.clone().matmul(keys.transpose());
                scores = scores.add(self.by_landmark(own));
            }
            match self.landmarks_seen(&scores) {
                Some(seen) => scores.add(seen.hide_zeros()),
                None => scores,
            }
        });
        let window = self.groups.as_ref().map(|groups| {
            let keys = groups.windows(self.key.clone());
            let queries = groups.split(query.clone());
            let mut scores = queries.clone().matmul(keys.clone().transpose());
            if let Some(table) = self.bias.as_ref().and_then(|bias| bias.window.as_ref()) {
                let [h, _] = table.dims();
                let biases = groups.spread(table.clone());
                scores = scores.add(biases.reshape([1, h, 1, groups.size, groups.span]));
            }
            if let Some(keys) = self.window_relative_keys() {
                scores = scores.add(groups.by_key(queries.matmul(keys.transpose())));
            }
            if let Some(seen) = groups.seen() {
                let seen = self
                    .key
                    .constant_like(seen, [1, 1, 1, groups.size, groups.span]);
                scores = scores.add(seen.hide_zeros());
            }
            // Keys outside the sequence are the zeros that `windows` puts there.
            let visible = match real {
                Some(real) => real.clone(),
                None => self.key.ones_like_with([1, 1, groups.keys, 1]),
            };
            let hidden = groups.windows(visible).transpose().hide_zeros();
            (scores.add(hidden), keys)
        });
        Scores {
            query,
            landmarks,
            window,
        }
    }

    /// Relative keys by the window's offsets, `[1, h, 1, offsets, d]`.
    fn window_relative_keys(&self) -> Option<Wide<B>> {
        let keys = self.relative_keys.as_ref()?.window.clone()?;
        let [h, offsets, d] = keys.dims();
        Some(keys.reshape([1, h, 1, offsets, d]))
    }

    /// Relative keys of landmarks, `[1, h, r, d]`.
    fn landmark_relative_keys(&self) -> Option<Wide<B>> {
        let keys = self.relative_keys.as_ref()?.landmarks.clone()?;
        let [h, r, d] = keys.dims();
        Some(keys.reshape([1, h, r, d]))
    }

    /// `[1, 1, n, 1]`
    fn ones_like_queries(&self) -> Wide<B> {
        let [_, _, n, _] = self.query.dims();
        self.query.ones_like_with([1, 1, n, 1])
    }

    /// What is given for each query by landmarks' offsets, `[b, h, n, r]`, by landmark. The offset of the
    /// landmark `t` is `T − 1 − t` where a query sees `T`; what it does not see gets any entry.
    fn by_landmark(&self, x: Wide<B>) -> Wide<B> {
        let [b, h, _, r] = x.dims();
        x.gather(3, self.landmark_offsets(b, h, r))
    }

    /// Undoes [`by_landmark`](Self::by_landmark), for what is 0 where a query does not see a landmark.
    fn by_landmark_offset(&self, x: Wide<B>) -> Wide<B> {
        // The same permutation: t ↔ T − 1 − t.
        self.by_landmark(x)
    }

    fn landmark_offsets(&self, b: usize, h: usize, r: usize) -> IntTensor<B> {
        let [_, _, n, _] = self.query.dims();
        let of_query = |query: usize| {
            let count = self.visibility.landmarks_of(query, r);
            (0..r).map(move |landmark| match landmark < count {
                true => (count - 1 - landmark) as i32,
                false => landmark as i32,
            })
        };
        let one: Vec<i32> = (0..n).flat_map(of_query).collect();
        self.query.indices(one.repeat(b * h), [b, h, n, r])
    }

    /// 1 for each landmark that a query sees, else 0: `[1, 1, n, r]`; none if all see all.
    fn landmarks_seen(&self, scores: &Wide<B>) -> Option<Wide<B>> {
        if self.visibility.landmarks == LandmarksSeen::All {
            return None;
        }
        let [_, _, n, r] = scores.dims();
        let seen = (0..n).flat_map(|query| {
            let count = self.visibility.landmarks_of(query, r);
            (0..r).map(move |landmark| f32::from(landmark < count))
        });
        Some(scores.constant_like(seen.collect(), [1, 1, n, r]))
    }

    /// 1 for a real token, 0 for a padded one: `[b, 1, n, 1]`.
    fn real(&self, mask: Option<BoolTensor<B>>) -> Option<Wide<B>> {
        let [b, _, n, _] = self.query.dims();
        mask.map(|mask| {
            Wide::indicator(B::bool_reshape(mask, Shape::new([b, 1, n, 1])), &self.query)
        })
    }

    /// Output `[b, h, n, d]` and log-sum-exp `[b, h, n, 1]`.
    fn attend(&self, mask: Option<BoolTensor<B>>) -> (Wide<B>, Wide<B>) {
        let real = self.real(mask);
        let scores = self.scores(real.as_ref());
        let (mut max, mut sum, mut output) = (None::<Wide<B>>, None::<Wide<B>>, None::<Wide<B>>);
        let include = |total: &mut Option<Wide<B>>, part: Wide<B>| {
            *total = Some(match total.take() {
                Some(total) => total.add(part),
                None => part,
            });
        };
        if let Some(landmarks) = &scores.landmarks {
            max = Some(landmarks.clone().detach().max_dim(3));
        }
        if let (Some((window, _)), Some(groups)) = (&scores.window, &self.groups) {
            let own = groups.merge(window.clone().detach().max_dim(4));
            max = Some(match max {
                Some(max) => max.max_pair(own),
                None => own,
            });
        }
        let max = max.expect("landmarks or a window").clamp_hidden();
        if let (Some(landmarks), Some((_, value))) = (scores.landmarks, &self.landmarks) {
            let p = landmarks.sub(max.clone()).exp();
            include(&mut sum, p.clone().sum_dim(3));
            let p = self.drop_landmarks(p);
            include(&mut output, p.matmul(value.clone()));
        }
        if let (Some((window, _)), Some(groups)) = (scores.window, &self.groups) {
            let p = window.sub(groups.split(max.clone())).exp();
            include(&mut sum, groups.merge(p.clone().sum_dim(4)));
            let p = self.drop_window(p, groups);
            let own = p.matmul(groups.windows(self.value.clone()));
            include(&mut output, groups.merge(own));
        }
        let sum = sum.expect("landmarks or a window");
        let safe = sum.clone().at_least_half();
        let mut output = output.expect("landmarks or a window").div(safe.clone());
        let mut log_sum_exp = max.add(safe.log()).zero_where_empty(&sum);
        if let Some(real) = real {
            output = output.mul(real.clone());
            log_sum_exp = log_sum_exp.mul(real);
        }
        (output, log_sum_exp)
    }

    fn backward(
        &self,
        d_output: Wide<B>,
        output: Wide<B>,
        log_sum_exp: Wide<B>,
        mask: Option<BoolTensor<B>>,
    ) -> Gradients<B> {
        let real = self.real(mask);
        let mut scores = self.scores(real.as_ref());
        let mut d_output = d_output;
        if let Some(real) = &real {
            d_output = d_output.mul(real.clone());
            // A padded query's log-sum-exp is 0, so its scores must not reach `exp` as they are.
            // In the window they need no care: no gradient meets them, and they are finite.
            scores.landmarks = scores
                .landmarks
                .map(|landmarks| landmarks.add(real.clone().hide_zeros()));
        }
        let delta = d_output.clone().mul(output).sum_dim(3);
        let mut gradients = Gradients {
            query: self.query.zeros_like_with(self.query.dims::<4>()),
            key: self.key.zeros_like_with(self.key.dims::<4>()),
            value: self.value.zeros_like_with(self.value.dims::<4>()),
            landmarks: None,
            landmark_bias: None,
            bias: None,
            relative_keys: None,
        };
        let mut bias = Tables::NONE;
        let mut relative_keys = Tables::NONE;
        if let (Some(landmarks), Some((key, value))) = (scores.landmarks, &self.landmarks) {
            let p = landmarks.sub(log_sum_exp.clone()).exp();
            let d_value = self
                .drop_landmarks(p.clone())
                .transpose()
                .matmul(d_output.clone());
            let d_p = self.drop_landmarks(d_output.clone().matmul(value.clone().transpose()));
            let d_scores = p.mul(d_p.sub(delta.clone()));
            gradients.query = d_scores.clone().matmul(key.clone());
            if self.landmark_bias.is_some() {
                let [b, h, _, r] = d_scores.dims();
                gradients.landmark_bias = Some(d_scores.clone().sum_dim(2).reshape([b, h, r]));
            }
            let by_offset = || self.by_landmark_offset(d_scores.clone());
            if let Some(table) = self.bias.as_ref().and_then(|bias| bias.landmarks.as_ref()) {
                let [h, r] = table.dims();
                let own = by_offset().sum_dim(2).sum_dim(0);
                bias.landmarks = Some(own.reshape([h, r]));
            }
            if let Some(keys) = self.landmark_relative_keys() {
                let [_, h, r, d] = keys.dims();
                let own = by_offset();
                gradients.query = gradients.query.add(own.clone().matmul(keys));
                let own = own.transpose().matmul(scores.query.clone()).sum_dim(0);
                relative_keys.landmarks = Some(own.reshape([h, r, d]));
            }
            let d_key = d_scores.transpose().matmul(scores.query.clone());
            gradients.landmarks = Some((d_key, d_value));
        }
        if let (Some((window, keys)), Some(groups)) = (scores.window, &self.groups) {
            let mut shifted = window.sub(groups.split(log_sum_exp));
            if let Some(real) = real {
                shifted = shifted.add(groups.split(real).hide_zeros());
            }
            let p = shifted.exp();
            let d_output = groups.split(d_output);
            let values = groups.windows(self.value.clone());
            let d_values = self
                .drop_window(p.clone(), groups)
                .transpose()
                .matmul(d_output.clone());
            gradients.value = groups.fold(d_values);
            let d_p = self.drop_window(d_output.matmul(values.transpose()), groups);
            let d_scores = p.mul(d_p.sub(groups.split(delta)));
            let mut d_query = d_scores.clone().matmul(keys);
            let queries = groups.split(scores.query);
            let d_keys = d_scores.clone().transpose().matmul(queries.clone());
            gradients.key = groups.fold(d_keys);
            if let Some(table) = self.bias.as_ref().and_then(|bias| bias.window.as_ref()) {
                let own = d_scores.clone().sum_dim(2).sum_dim(0);
                bias.window = Some(groups.collect(own, table));
            }
            if let Some(keys) = self.window_relative_keys() {
                let [_, h, _, offsets, d] = keys.dims();
                let own = groups.by_offset(d_scores, offsets);
                d_query = d_query.add(own.clone().matmul(keys));
                let own = own.transpose().matmul(queries).sum_dim(2).sum_dim(0);
                relative_keys.window = Some(own.reshape([h, offsets, d]));
            }
            gradients.query = gradients.query.add(groups.merge(d_query));
        }
        gradients.query = gradients.query.scale(self.scale);
        gradients.bias = bias.join();
        gradients.relative_keys = relative_keys.join();
        gradients
    }

    fn drop_landmarks(&self, p: Wide<B>) -> Wide<B> {
        if self.dropout.is_off() {
            return p;
        }
        let [b, h, n, r] = p.dims();
        let kept = self.kept(b, h, n, r, |query, column| {
            [query, column].map(|x| x as u32)
        });
        let kept = p.constant_like(kept, [b, h, n, r]);
        p.mul(kept)
    }

    fn drop_window(&self, p: Wide<B>, groups: &Groups) -> Wide<B> {
        if self.dropout.is_off() {
            return p;
        }
        let [b, h, count, size, span] = p.dims();
        let landmarks = self.landmarks.as_ref();
        let rows = landmarks.map_or(0, |(key, _)| key.dims::<4>()[2]) as u32;
        let kept = self.kept(b, h, count * size, span, |slot, column| {
            let [query, column] = groups.entry(slot, column);
            [query, column.wrapping_add(rows)]
        });
        let kept = p.constant_like(kept, [b, h, count, size, span]);
        p.mul(kept)
    }

    /// The factor of each entry, whose query and column `entry` says, on the host: hashes wrap
    /// around 32 bits, which no tensor operation does alike on every backend.
    fn kept(
        &self,
        b: usize,
        h: usize,
        rows: usize,
        columns: usize,
        entry: impl Fn(usize, usize) -> [u32; 2],
    ) -> Vec<f32> {
        let AttentionDropout { seed, probability } = self.dropout;
        let scale = self.dropout.scale() as f32;
        let threshold = dropout::threshold(probability);
        let mut kept = Vec::with_capacity(b * h * rows * columns);
        for document in self.first_document..self.first_document + b {
            for head in 0..h {
                for row in 0..rows {
                    for column in 0..columns {
                        let [query, column] = entry(row, column);
                        let (document, head) = (document as u32, head as u32);
                        let hash = dropout::hash(seed, document, head, query, column);
                        kept.push(if hash >= threshold { scale } else { 0.0 });
                    }
                }
            }
        }
        kept
    }
}

impl<B: Backend> Gradients<B> {
    /// Joins the gradients of a packed batch's documents, in order; empty documents have none.
    fn join(rows: &Call<B>, parts: Vec<Self>, boundaries: &Boundaries) -> Self {
        let (mut query, mut key, mut value) = (vec![], vec![], vec![]);
        let (mut landmark_keys, mut landmark_values, mut landmark_bias) = (vec![], vec![], vec![]);
        let (mut bias, mut relative_keys) = (None::<Wide<B>>, None::<Wide<B>>);
        let sum = |sum: Option<Wide<B>>, own: Option<Wide<B>>| match (sum, own) {
            (Some(sum), Some(own)) => Some(sum.add(own)),
            (sum, own) => sum.or(own),
        };
        let mut parts = parts.into_iter();
        for range in boundaries.ranges() {
            let part = match range.is_empty() {
                true => None,
                false => parts.next(),
            };
            let own_landmarks = part.as_ref().and_then(|part| part.landmarks.clone());
            if let Some((key, value)) = &rows.landmarks {
                let none = |x: &Wide<B>| {
                    let [_, h, r, d] = x.dims();
                    x.zeros_like_with([1, h, r, d])
                };
                let (key, value) = own_landmarks.unwrap_or_else(|| (none(key), none(value)));
                landmark_keys.push(key);
                landmark_values.push(value);
            }
            if let Some(bias) = &rows.landmark_bias {
                let [_, h, r] = bias.dims();
                let own = part.as_ref().and_then(|part| part.landmark_bias.clone());
                landmark_bias.push(own.unwrap_or_else(|| bias.zeros_like_with([1, h, r])));
            }
            let Some(part) = part else { continue };
            query.push(part.query);
            key.push(part.key);
            value.push(part.value);
            bias = sum(bias, part.bias);
            relative_keys = sum(relative_keys, part.relative_keys);
        }
        Self {
            query: Wide::cat(query, 2),
            key: Wide::cat(key, 2),
            value: Wide::cat(value, 2),
            landmarks: (!landmark_keys.is_empty())
                .then(|| (Wide::cat(landmark_keys, 0), Wide::cat(landmark_values, 0))),
            landmark_bias: (!landmark_bias.is_empty()).then(|| Wide::cat(landmark_bias, 0)),
            bias,
            relative_keys,
        }
    }
}
