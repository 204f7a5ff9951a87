//! The projected path: landmarks of each document (paper section 3.2, equation 3).
//!
//! ```text
//! P  = softmax over the document's tokens of scores           [b, h, r, n]
//! K̄  = P K,   V̄ = P V,   L = log Σ exp scores                 [b, h, r, d], [b, h, r, d], [b, h, r]
//! dS = P ∘ (dK̄ Kᵀ + dV̄ Vᵀ − D + dL),   D = Σ_d dK̄ ∘ K̄ + dV̄ ∘ V̄
//! dK = Pᵀ dK̄,   dV = Pᵀ dV̄
//! ```

use burn::backend::Backend;
use burn::backend::TensorMetadata;
use burn::backend::tensor::BoolTensor;
use burn::tensor::Shape;

use super::wide::Wide;
use crate::ops::{Documents, ProjectArgs, ProjectBackwardArgs, ProjectGradients, ProjectOutput};

/// See [`LongShortBackend::project`](crate::ops::LongShortBackend::project).
pub fn project<B: Backend>(args: ProjectArgs<B>) -> ProjectOutput<B> {
    let ProjectArgs {
        scores,
        key,
        value,
        documents,
    } = args;
    let dtype = key.dtype();
    let handed_on = (key.clone(), value.clone());
    let scores = Wide::<B>::widen(scores);
    let (key, value) = (Wide::widen(key), Wide::widen(value));
    let output = match documents {
        Documents::Full => landmarks(scores, key, value, None),
        Documents::Padded(mask) => landmarks(scores, key, value, Some(mask)),
        Documents::Packed(boundaries) => {
            let [_, h, r, _] = scores.dims();
            let [_, _, _, d] = key.dims();
            let one_document = |range: std::ops::Range<usize>| match range.len() {
                0 => key.zeros_like_with([1, h, r, 2 * d + 1]),
                length => landmarks(
                    scores.clone().narrow(3, range.start, length),
                    key.clone().narrow(2, range.start, length),
                    value.clone().narrow(2, range.start, length),
                    None,
                ),
            };
            Wide::cat(boundaries.ranges().map(one_document).collect(), 0)
        }
    };
    ProjectOutput {
        landmarks: output.narrow_to(dtype),
        key: handed_on.0,
        value: handed_on.1,
    }
}

/// See [`LongShortBackend::project_backward`](crate::ops::LongShortBackend::project_backward).
pub fn project_backward<B: Backend>(args: ProjectBackwardArgs<B>) -> ProjectGradients<B> {
    let ProjectArgs {
        scores,
        key,
        value,
        documents,
    } = args.inputs;
    let dtypes = (scores.dtype(), key.dtype(), value.dtype());
    let scores = Wide::<B>::widen(scores);
    let (key, value) = (Wide::widen(key), Wide::widen(value));
    let (d_output, output) = (Wide::widen(args.d_landmarks), Wide::widen(args.landmarks));
    let (d_scores, d_key, d_value) = match documents {
        Documents::Full => landmarks_backward(d_output, scores, key, value, output, None),
        Documents::Padded(mask) => {
            landmarks_backward(d_output, scores, key, value, output, Some(mask))
        }
        Documents::Packed(boundaries) => {
            let (mut d_scores, mut d_keys, mut d_values) = (vec![], vec![], vec![]);
            for (document, range) in boundaries.ranges().enumerate() {
                let (start, length) = (range.start, range.len());
                if length == 0 {
                    continue;
                }
                let (d_score, d_key, d_value) = landmarks_backward(
                    d_output.clone().narrow(0, document, 1),
                    scores.clone().narrow(3, start, length),
                    key.clone().narrow(2, start, length),
                    value.clone().narrow(2, start, length),
                    output.clone().narrow(0, document, 1),
                    None,
                );
                d_scores.push(d_score);
                d_keys.push(d_key);
                d_values.push(d_value);
            }
            (
                Wide::cat(d_scores, 3),
                Wide::cat(d_keys, 2),
                Wide::cat(d_values, 2),
            )
        }
    };
    ProjectGradients {
        scores: d_scores.narrow_to(dtypes.0),
        key: d_key.narrow_to(dtypes.1),
        value: d_value.narrow_to(dtypes.2),
    }
    .plus(args.d_key, args.d_value)
}

/// An additive term `[b, 1, 1, n]` that hides padded tokens.
fn hidden<B: Backend>(mask: BoolTensor<B>, like: &Wide<B>) -> Wide<B> {
    let [b, _, _, n] = like.dims();
    let mask = B::bool_reshape(mask, Shape::new([b, 1, 1, n]));
    Wide::indicator(mask, like).hide_zeros()
}

/// One document a row: `[K̄ | V̄ | L]`, `[b, h, r, 2d + 1]`.
fn landmarks<B: Backend>(
    scores: Wide<B>,
    key: Wide<B>,
    value: Wide<B>,
    mask: Option<BoolTensor<B>>,
) -> Wide<B> {
    let scores = match mask {
        Some(mask) => {
            let hidden = hidden(mask, &scores);
            scores.add(hidden)
        }
        None => scores,
    };
    let max = scores.clone().detach().max_dim(3).clamp_hidden();
    let p = scores.sub(max.clone()).exp();
    let sum = p.clone().sum_dim(3);
    let safe = sum.clone().at_least_half();
    let p = p.div(safe.clone());
    let log_sum_exp = max.add(safe.log()).zero_where_empty(&sum);
    Wide::cat(vec![p.clone().matmul(key), p.matmul(value), log_sum_exp], 3)
}

fn landmarks_backward<B: Backend>(
    d_output: Wide<B>,
    scores: Wide<B>,
    key: Wide<B>,
    value: Wide<B>,
    output: Wide<B>,
    mask: Option<BoolTensor<B>>,
) -> (Wide<B>, Wide<B>, Wide<B>) {
    let [_, _, _, d] = key.dims();
    let scores = match mask {
        Some(mask) => {
            let hidden = hidden(mask, &scores);
            scores.add(hidden)
        }
        None => scores,
    };
    let p = scores.sub(output.clone().narrow(3, 2 * d, 1)).exp();
    let d_landmark_key = d_output.clone().narrow(3, 0, d);
    let d_landmark_value = d_output.clone().narrow(3, d, d);
    let d_log_sum_exp = d_output.clone().narrow(3, 2 * d, 1);
    let delta = d_output
        .narrow(3, 0, 2 * d)
        .mul(output.narrow(3, 0, 2 * d))
        .sum_dim(3);
    let d_p = d_landmark_key
        .clone()
        .matmul(key.transpose())
        .add(d_landmark_value.clone().matmul(value.transpose()));
    let d_scores = p.clone().mul(d_p.sub(delta.sub(d_log_sum_exp)));
    let p = p.transpose();
    (
        d_scores,
        p.clone().matmul(d_landmark_key),
        p.matmul(d_landmark_value),
    )
}
