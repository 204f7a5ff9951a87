//! Shapes and types of the operations' outputs, which Fusion needs before it runs them.
//!
//! Burn never compares them with what a backend returns: the tests do.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::{DType, Shape};

use super::{
    AttendGradientsMetadata, AttentionDropout, DocumentsMetadata, GradientMetadata,
    LandmarksMetadata, OffsetBiasMetadata, ProjectGradientsMetadata, ProjectOutputMetadata, Window,
};

pub(super) fn project(
    scores: &TensorSpec,
    key: &TensorSpec,
    value: &TensorSpec,
    documents: &DocumentsMetadata,
) -> ProjectOutputMetadata {
    let [b, h, d] = [0, 1, 3].map(|axis| key.shape[axis]);
    let documents = match documents {
        DocumentsMetadata::Packed(boundaries) => boundaries.count(),
        DocumentsMetadata::Full | DocumentsMetadata::Padded(_) => b,
    };
    let landmarks = Shape::new([documents, h, scores.shape[2], 2 * d + 1]);
    ProjectOutputMetadata {
        landmarks: TensorSpec::new(landmarks, key.dtype),
        key: key.clone(),
        value: value.clone(),
    }
}

pub(super) fn project_backward(
    _d_landmarks: &TensorSpec,
    _d_key: &GradientMetadata,
    _d_value: &GradientMetadata,
    scores: &TensorSpec,
    key: &TensorSpec,
    value: &TensorSpec,
    _landmarks: &TensorSpec,
    _documents: &DocumentsMetadata,
) -> ProjectGradientsMetadata {
    ProjectGradientsMetadata {
        scores: scores.clone(),
        key: key.clone(),
        value: value.clone(),
    }
}

pub(super) fn attend(
    query: &TensorSpec,
    _key: &TensorSpec,
    _value: &TensorSpec,
    _landmarks: &LandmarksMetadata,
    _bias: &OffsetBiasMetadata,
    _documents: &DocumentsMetadata,
    _window: &Window,
    _scale: &f64,
    _dropout: &AttentionDropout,
) -> (TensorSpec, TensorSpec) {
    let log_sum_exp = Shape::new([query.shape[0], query.shape[1], query.shape[2]]);
    let dtype = match query.dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    (query.clone(), TensorSpec::new(log_sum_exp, dtype))
}

pub(super) fn attend_backward(
    _d_output: &TensorSpec,
    query: &TensorSpec,
    key: &TensorSpec,
    value: &TensorSpec,
    landmarks: &LandmarksMetadata,
    bias: &OffsetBiasMetadata,
    _output: &TensorSpec,
    _log_sum_exp: &TensorSpec,
    _documents: &DocumentsMetadata,
    _window: &Window,
    _scale: &f64,
    _dropout: &AttentionDropout,
) -> AttendGradientsMetadata {
    AttendGradientsMetadata {
        query: query.clone(),
        key: key.clone(),
        value: value.clone(),
        landmarks: landmarks.clone(),
        bias: bias.clone(),
    }
}
