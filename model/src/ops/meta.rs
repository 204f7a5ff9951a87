//! Shapes and types of the operations' outputs, which Fusion needs before it runs them.
//!
//! Burn never compares them with what a backend returns: the tests do.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::{DType, Shape};

use super::{
    AttendArgsMetadata, AttendBackwardArgsMetadata, AttendGradientsMetadata, DocumentsMetadata,
    ProjectArgsMetadata, ProjectBackwardArgsMetadata, ProjectGradientsMetadata,
    ProjectOutputMetadata,
};

pub(super) fn project(args: &ProjectArgsMetadata) -> ProjectOutputMetadata {
    let [b, h, d] = [0, 1, 3].map(|axis| args.key.shape[axis]);
    let documents = match &args.documents {
        DocumentsMetadata::Packed(boundaries) => boundaries.count(),
        DocumentsMetadata::Full | DocumentsMetadata::Padded(_) => b,
    };
    let landmarks = Shape::new([documents, h, args.scores.shape[2], 2 * d + 1]);
    ProjectOutputMetadata {
        landmarks: TensorSpec::new(landmarks, args.key.dtype),
        key: args.key.clone(),
        value: args.value.clone(),
    }
}

pub(super) fn project_backward(args: &ProjectBackwardArgsMetadata) -> ProjectGradientsMetadata {
    ProjectGradientsMetadata {
        scores: args.inputs.scores.clone(),
        key: args.inputs.key.clone(),
        value: args.inputs.value.clone(),
    }
}

pub(super) fn attend(args: &AttendArgsMetadata) -> (TensorSpec, TensorSpec) {
    let query = &args.query;
    let log_sum_exp = Shape::new([query.shape[0], query.shape[1], query.shape[2]]);
    let dtype = match query.dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    (query.clone(), TensorSpec::new(log_sum_exp, dtype))
}

pub(super) fn attend_backward(args: &AttendBackwardArgsMetadata) -> AttendGradientsMetadata {
    AttendGradientsMetadata {
        query: args.inputs.query.clone(),
        key: args.inputs.key.clone(),
        value: args.inputs.value.clone(),
        landmarks: args.inputs.landmarks.clone(),
        landmark_bias: args.inputs.landmark_bias.clone(),
        bias: args.inputs.bias.clone(),
        relative_keys: args.inputs.relative_keys.clone(),
    }
}
