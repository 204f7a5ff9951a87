//! The windowed path joined with the landmarks (paper section 3.3): one softmax per query.
//!
//! ```text
//! S  = scale · Q [K̄ | K_window]ᵀ (+ bias)      A = softmax S,   L = log Σ exp S
//! C  = A [V̄ | V_window]                        (dropout: A ∘ Z, Z = 0 or 1/(1 − p))
//! dS = A ∘ (Z ∘ dC [V̄ | V_window]ᵀ − D),       D = Σ_d dC ∘ C
//! ```
//!
//! The backward pass recomputes `A = exp(S − L)`.

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{IndexingUpdateOp, Shape, TensorData};
use transformer_ls_kernels_cpu::dropout;

use super::prim::Prim;
use super::window::Segments;
use crate::ops::{
    AttendGradients, AttentionDropout, Boundaries, Documents, Landmarks, OffsetBias, Window,
};

/// See [`LongShortBackend::attend`](crate::ops::LongShortBackend::attend).
///
/// # Panics
///
/// Panics if the window is off and there are no landmarks.
pub fn attend<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    landmarks: Landmarks<B>,
    bias: OffsetBias<B>,
    documents: Documents<B>,
    window: Window,
    scale: f64,
    dropout: AttentionDropout,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let dtype = query.dtype();
    let rows = Rows::new(query, key, value, landmarks, bias, window, scale, dropout);
    let (output, log_sum_exp) = match documents {
        Documents::Full => rows.attend(None),
        Documents::Padded(mask) => rows.attend(Some(mask)),
        Documents::Packed(boundaries) => {
            let (outputs, sums) = rows
                .documents(&boundaries)
                .map(|document| document.attend(None))
                .unzip();
            (Prim::cat(outputs, 2), Prim::cat(sums, 2))
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
pub fn attend_backward<B: Backend>(
    d_output: FloatTensor<B>,
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    landmarks: Landmarks<B>,
    bias: OffsetBias<B>,
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    documents: Documents<B>,
    window: Window,
    scale: f64,
    dropout: AttentionDropout,
) -> AttendGradients<B> {
    let dtype = query.dtype();
    let rows = Rows::new(query, key, value, landmarks, bias, window, scale, dropout);
    let d_output = Prim::<B>::widen(d_output);
    let output = Prim::widen(output);
    let [b, h, n, _] = output.dims();
    let log_sum_exp = Prim::widen(log_sum_exp).reshape([b, h, n, 1]);
    let gradients = match documents {
        Documents::Full => rows.backward(d_output, output, log_sum_exp, None),
        Documents::Padded(mask) => rows.backward(d_output, output, log_sum_exp, Some(mask)),
        Documents::Packed(boundaries) => {
            let part = |x: &Prim<B>, range: &std::ops::Range<usize>| {
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
        bias: match gradients.bias {
            Some(table) => OffsetBias::Table(table.narrow_to(dtype)),
            None => OffsetBias::None,
        },
    }
}

/// What attention over a batch with one document a row needs.
struct Rows<B: Backend> {
    query: Prim<B>,
    key: Prim<B>,
    value: Prim<B>,
    landmarks: Option<(Prim<B>, Prim<B>)>,
    bias: Option<Prim<B>>,
    segments: Option<Segments>,
    scale: f64,
    dropout: AttentionDropout,
    /// Number of the first document, which dropout counts from.
    first_document: usize,
}

struct Gradients<B: Backend> {
    query: Prim<B>,
    key: Prim<B>,
    value: Prim<B>,
    landmarks: Option<(Prim<B>, Prim<B>)>,
    bias: Option<Prim<B>>,
}

/// Scores of both kinds and what their products need again.
struct Scores<B: Backend> {
    /// Scaled queries `[b, h, n, d]`.
    query: Prim<B>,
    /// `[b, h, n, r]`
    landmarks: Option<Prim<B>>,
    /// `[b, h, segments, w, w + 2e]`, and the windows' keys `[b, h, segments, w + 2e, d]`.
    window: Option<(Prim<B>, Prim<B>)>,
}

impl<B: Backend> Rows<B> {
    fn new(
        query: FloatTensor<B>,
        key: FloatTensor<B>,
        value: FloatTensor<B>,
        landmarks: Landmarks<B>,
        bias: OffsetBias<B>,
        window: Window,
        scale: f64,
        dropout: AttentionDropout,
    ) -> Self {
        let query = Prim::<B>::widen(query);
        let [_, _, n, _] = query.dims();
        let landmarks = match landmarks {
            Landmarks::None => None,
            Landmarks::Rows { key, value } => Some((Prim::widen(key), Prim::widen(value))),
        };
        let segments = match window {
            Window::Off => None,
            Window::Segments { width } => Some(Segments::new(n, width)),
        };
        assert!(
            landmarks.is_some() || segments.is_some(),
            "attention without window and without landmarks sees nothing"
        );
        Self {
            query,
            key: Prim::widen(key),
            value: Prim::widen(value),
            landmarks,
            bias: match bias {
                OffsetBias::None => None,
                OffsetBias::Table(table) => Some(Prim::widen(table)),
            },
            segments,
            scale,
            dropout,
            first_document: 0,
        }
    }

    /// Each document of a packed batch that has tokens, as a batch of its own.
    fn documents<'a>(&'a self, boundaries: &'a Boundaries) -> impl Iterator<Item = Self> + 'a {
        boundaries
            .ranges()
            .enumerate()
            .filter(|(_, range)| !range.is_empty())
            .map(move |(document, range)| {
                let part = |x: &Prim<B>| x.clone().narrow(2, range.start, range.len());
                let own = |x: &Prim<B>| x.clone().narrow(0, document, 1);
                Self {
                    query: part(&self.query),
                    key: part(&self.key),
                    value: part(&self.value),
                    landmarks: self
                        .landmarks
                        .as_ref()
                        .map(|(key, value)| (own(key), own(value))),
                    bias: self.bias.clone(),
                    segments: self
                        .segments
                        .map(|segments| Segments::new(range.len(), segments.width)),
                    scale: self.scale,
                    dropout: self.dropout,
                    first_document: document,
                }
            })
    }

    /// Scores before the softmax, hidden keys far below all others.
    fn scores(&self, real: Option<&Prim<B>>) -> Scores<B> {
        let query = self.query.clone().scale(self.scale);
        let landmarks = self
            .landmarks
            .as_ref()
            .map(|(key, _)| query.clone().matmul(key.clone().transpose()));
        let window = self.segments.map(|segments| {
            let keys = segments.windows(self.key.clone());
            let mut scores = segments
                .split(query.clone())
                .matmul(keys.clone().transpose());
            if let Some(table) = &self.bias {
                scores = scores.add(spread_bias(table.clone(), &segments));
            }
            // Keys outside the sequence are the zeros that `windows` puts there.
            let visible = match real {
                Some(real) => real.clone(),
                None => self.key.ones_like_with([1, 1, segments.tokens, 1]),
            };
            let hidden = segments.windows(visible).transpose().hide_zeros();
            (scores.add(hidden), keys)
        });
        Scores {
            query,
            landmarks,
            window,
        }
    }

    /// 1 for a real token, 0 for a padded one: `[b, 1, n, 1]`.
    fn real(&self, mask: Option<BoolTensor<B>>) -> Option<Prim<B>> {
        let [b, _, n, _] = self.query.dims();
        mask.map(|mask| {
            Prim::indicator(B::bool_reshape(mask, Shape::new([b, 1, n, 1])), &self.query)
        })
    }

    /// Output `[b, h, n, d]` and log-sum-exp `[b, h, n, 1]`.
    fn attend(&self, mask: Option<BoolTensor<B>>) -> (Prim<B>, Prim<B>) {
        let real = self.real(mask);
        let scores = self.scores(real.as_ref());
        let (mut max, mut sum, mut output) = (None::<Prim<B>>, None::<Prim<B>>, None::<Prim<B>>);
        let include = |total: &mut Option<Prim<B>>, part: Prim<B>| {
            *total = Some(match total.take() {
                Some(total) => total.add(part),
                None => part,
            });
        };
        if let Some(landmarks) = &scores.landmarks {
            max = Some(landmarks.clone().detach().max_dim(3));
        }
        if let (Some((window, _)), Some(segments)) = (&scores.window, &self.segments) {
            let own = segments.merge(window.clone().detach().max_dim(4));
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
        if let (Some((window, _)), Some(segments)) = (scores.window, &self.segments) {
            let p = window.sub(segments.split(max.clone())).exp();
            include(&mut sum, segments.merge(p.clone().sum_dim(4)));
            let p = self.drop_window(p, segments);
            let own = p.matmul(segments.windows(self.value.clone()));
            include(&mut output, segments.merge(own));
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
        d_output: Prim<B>,
        output: Prim<B>,
        log_sum_exp: Prim<B>,
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
            bias: None,
        };
        if let (Some(landmarks), Some((key, value))) = (scores.landmarks, &self.landmarks) {
            let p = landmarks.sub(log_sum_exp.clone()).exp();
            let d_value = self
                .drop_landmarks(p.clone())
                .transpose()
                .matmul(d_output.clone());
            let d_p = self.drop_landmarks(d_output.clone().matmul(value.clone().transpose()));
            let d_scores = p.mul(d_p.sub(delta.clone()));
            gradients.query = d_scores.clone().matmul(key.clone());
            let d_key = d_scores.transpose().matmul(scores.query.clone());
            gradients.landmarks = Some((d_key, d_value));
        }
        if let (Some((window, keys)), Some(segments)) = (scores.window, &self.segments) {
            let mut shifted = window.sub(segments.split(log_sum_exp));
            if let Some(real) = real {
                shifted = shifted.add(segments.split(real).hide_zeros());
            }
            let p = shifted.exp();
            let d_output = segments.split(d_output);
            let values = segments.windows(self.value.clone());
            let d_values = self
                .drop_window(p.clone(), segments)
                .transpose()
                .matmul(d_output.clone());
            gradients.value = segments.fold(d_values);
            let d_p = self.drop_window(d_output.matmul(values.transpose()), segments);
            let d_scores = p.mul(d_p.sub(segments.split(delta)));
            let d_query = segments.merge(d_scores.clone().matmul(keys));
            gradients.query = gradients.query.add(d_query);
            let d_keys = d_scores
                .clone()
                .transpose()
                .matmul(segments.split(scores.query));
            gradients.key = segments.fold(d_keys);
            if let Some(table) = &self.bias {
                gradients.bias = Some(collect_bias(d_scores, table, segments));
            }
        }
        gradients.query = gradients.query.scale(self.scale);
        gradients
    }

    fn drop_landmarks(&self, p: Prim<B>) -> Prim<B> {
        if self.dropout.probability == 0.0 {
            return p;
        }
        let [b, h, n, r] = p.dims();
        let kept = self.kept(b, h, n, r, |_, column| column);
        let kept = p.constant_like(kept, [b, h, n, r]);
        p.mul(kept)
    }

    fn drop_window(&self, p: Prim<B>, segments: &Segments) -> Prim<B> {
        if self.dropout.probability == 0.0 {
            return p;
        }
        let [b, h, _, _, span] = p.dims();
        let rows = self
            .landmarks
            .as_ref()
            .map_or(0, |(key, _)| key.dims::<4>()[2]);
        let kept = self.kept(b, h, segments.padded(), span, |_, column| rows + column);
        let kept = p.constant_like(kept, [b, h, segments.count, segments.width, span]);
        p.mul(kept)
    }

    /// The factor of each entry, on the host: hashes wrap around 32 bits, which no tensor
    /// operation does alike on every backend.
    fn kept(
        &self,
        b: usize,
        h: usize,
        rows: usize,
        columns: usize,
        number: impl Fn(usize, usize) -> usize,
    ) -> Vec<f32> {
        let scale = self.dropout.scale() as f32;
        let threshold = dropout::threshold(self.dropout.probability);
        let mut kept = Vec::with_capacity(b * h * rows * columns);
        for document in self.first_document..self.first_document + b {
            for head in 0..h {
                for row in 0..rows {
                    for column in 0..columns {
                        let hash = dropout::hash(
                            self.dropout.seed,
                            document as u32,
                            head as u32,
                            row as u32,
                            number(row, column) as u32,
                        );
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
    fn join(rows: &Rows<B>, parts: Vec<Self>, boundaries: &Boundaries) -> Self {
        let (mut query, mut key, mut value) = (vec![], vec![], vec![]);
        let (mut landmark_keys, mut landmark_values) = (vec![], vec![]);
        let mut bias = None::<Prim<B>>;
        let mut parts = parts.into_iter();
        for range in boundaries.ranges() {
            let part = match range.is_empty() {
                true => None,
                false => parts.next(),
            };
            let own_landmarks = part.as_ref().and_then(|part| part.landmarks.clone());
            if let Some((key, value)) = &rows.landmarks {
                let none = |x: &Prim<B>| {
                    let [_, h, r, d] = x.dims();
                    x.zeros_like_with([1, h, r, d])
                };
                let (key, value) = own_landmarks.unwrap_or_else(|| (none(key), none(value)));
                landmark_keys.push(key);
                landmark_values.push(value);
            }
            let Some(part) = part else { continue };
            query.push(part.query);
            key.push(part.key);
            value.push(part.value);
            bias = match (bias, part.bias) {
                (Some(sum), Some(own)) => Some(sum.add(own)),
                (sum, own) => sum.or(own),
            };
        }
        Self {
            query: Prim::cat(query, 2),
            key: Prim::cat(key, 2),
            value: Prim::cat(value, 2),
            landmarks: (!landmark_keys.is_empty())
                .then(|| (Prim::cat(landmark_keys, 0), Prim::cat(landmark_values, 0))),
            bias,
        }
    }
}

fn columns<B: Backend>(segments: &Segments, like: &Prim<B>) -> burn::backend::tensor::IntTensor<B> {
    let device = like.clone().into_inner().device();
    let columns = segments.offset_columns();
    let length = columns.len();
    let int_dtype = get_or_init_device_settings::<B>(&device).int_dtype;
    let data = TensorData::new(columns, [length]).convert_dtype(int_dtype.into());
    B::int_from_data(data, &device)
}

/// `[h, offsets]` → `[1, h, 1, w, w + 2e]`
fn spread_bias<B: Backend>(table: Prim<B>, segments: &Segments) -> Prim<B> {
    let [h, _] = table.dims();
    let columns = columns(segments, &table);
    let spread = B::float_select(table.into_inner(), 1, columns);
    Prim::widen(spread).reshape([1, h, 1, segments.width, segments.span()])
}

/// The adjoint of [`spread_bias`], over all rows and segments.
fn collect_bias<B: Backend>(d_scores: Prim<B>, table: &Prim<B>, segments: &Segments) -> Prim<B> {
    let [_, h, _, w, span] = d_scores.dims();
    let columns = columns(segments, table);
    let summed = d_scores.sum_dim(2).sum_dim(0).reshape([h, w * span]);
    let zeros = table.zeros_like_with(table.dims::<2>());
    Prim::widen(B::float_select_assign(
        zeros.into_inner(),
        1,
        columns,
        summed.into_inner(),
        IndexingUpdateOp::Add,
    ))
}
