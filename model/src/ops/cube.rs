//! CubeCL runtimes (WGPU, CUDA, ROCm), one backend type to Burn: the WGSL kernels where the
//! runtime compiles WGSL, the plain bodies elsewhere. The choice is made call by call, since one
//! build may serve several devices.

use std::sync::{Mutex, PoisonError};

use burn::backend::TensorMetadata;
use burn::backend::ops::BoolTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, IntDType};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels_wgsl as wgsl;

use super::{
    AttendArgs, AttendBackwardArgs, AttendGradients, Documents, Landmarks, LongShortBackend,
    OptionalTensor, ProjectArgs, ProjectBackwardArgs, ProjectGradients, ProjectOutput, path, plain,
};

impl LongShortBackend for CubeBackend {
    fn project(args: ProjectArgs<Self>) -> ProjectOutput<Self> {
        if !takes(&project_tensors(&args), &args.documents) {
            return plain::project::<Self>(args);
        }
        ProjectOutput {
            landmarks: wgsl::project(&project_inputs(&args)),
            key: args.key,
            value: args.value,
        }
    }

    fn project_backward(args: ProjectBackwardArgs<Self>) -> ProjectGradients<Self> {
        let mut tensors = project_tensors(&args.inputs);
        tensors.extend([&args.landmarks, &args.d_landmarks]);
        if !takes(&tensors, &args.inputs.documents) {
            return plain::project_backward::<Self>(args);
        }
        // The kernel adds to both or to none.
        let (added, d_key, d_value) = match (args.d_key, args.d_value) {
            (OptionalTensor::Some(key), OptionalTensor::Some(value)) => (
                Some((key, value)),
                OptionalTensor::None,
                OptionalTensor::None,
            ),
            others => (None, others.0, others.1),
        };
        let gradients = wgsl::project_backward(
            &args.d_landmarks,
            added,
            &project_inputs(&args.inputs),
            &args.landmarks,
        );
        ProjectGradients {
            scores: gradients.scores,
            key: gradients.key,
            value: gradients.value,
        }
        .plus(d_key, d_value)
    }

    fn attend(args: AttendArgs<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match takes(&attend_tensors(&args), &args.documents) {
            true => wgsl::attend(&attend_inputs(&args)),
            false => plain::attend::<Self>(args),
        }
    }

    fn attend_backward(args: AttendBackwardArgs<Self>) -> AttendGradients<Self> {
        let mut tensors = attend_tensors(&args.inputs);
        tensors.extend([&args.d_output, &args.output]);
        if !takes(&tensors, &args.inputs.documents) {
            return plain::attend_backward::<Self>(args);
        }
        let gradients = wgsl::attend_backward(
            &args.d_output,
            &attend_inputs(&args.inputs),
            &args.output,
            &args.log_sum_exp,
        );
        AttendGradients {
            query: gradients.query,
            key: gradients.key,
            value: gradients.value,
            landmarks: match gradients.landmarks {
                Some((key, value)) => Landmarks::Rows { key, value },
                None => Landmarks::None,
            },
            landmark_bias: OptionalTensor::from_option(gradients.landmark_bias),
            bias: OptionalTensor::from_option(gradients.bias),
            relative_keys: OptionalTensor::from_option(gradients.relative_keys),
        }
    }
}

/// Whether the WGSL kernels take these tensors, the first of which is `[b, h, n, d]`. A refusal by a device that could is logged once for each reason.
fn takes(tensors: &[&CubeTensor], documents: &Documents<CubeBackend>) -> bool {
    if path::plain_is_asked_for() {
        return false;
    }
    let width = tensors[0].shape().iter().last().copied().unwrap_or(0);
    let refusal = wgsl::refusal(tensors, width).or(match documents {
        // A mask is read as words of 32 bits, which is what WGPU's booleans are.
        Documents::Padded(mask) if mask.dtype.size() != DType::U32.size() => {
            Some("its booleans are not words of 32 bits")
        }
        _ => None,
    });
    if let Some(reason) = refusal
        && wgsl::runs_wgsl(&tensors[0].device)
    {
        log_once(reason);
    }
    refusal.is_none()
}

fn log_once(reason: &'static str) {
    static LOGGED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if !logged.contains(&reason) {
        logged.push(reason);
        log::warn!("attention takes the plain path instead of the shaders: {reason}");
    }
}

/// The projection's tensors, keys first.
fn project_tensors(args: &ProjectArgs<CubeBackend>) -> Vec<&CubeTensor> {
    vec![&args.key, &args.value, &args.scores]
}

/// Attention's tensors, queries first.
fn attend_tensors(args: &AttendArgs<CubeBackend>) -> Vec<&CubeTensor> {
    let mut all = vec![&args.query, &args.key, &args.value];
    if let Landmarks::Rows { key, value } = &args.landmarks {
        all.extend([key, value]);
    }
    all.extend(args.landmark_bias.as_option());
    all.extend(args.bias.as_option());
    all.extend(args.relative_keys.as_option());
    all
}

pub(super) fn borrow(documents: &Documents<CubeBackend>) -> wgsl::Documents<'_> {
    match documents {
        Documents::Full => wgsl::Documents::Full,
        Documents::Padded(mask) => wgsl::Documents::Padded(mask),
        Documents::Packed(boundaries) => wgsl::Documents::Packed(boundaries),
    }
}

/// A mask as the shaders read it, in words of 32 bits.
pub(super) fn whole_words(documents: Documents<CubeBackend>) -> Documents<CubeBackend> {
    match documents {
        Documents::Padded(mask) if mask.dtype.size() != DType::U32.size() => {
            let words = CubeBackend::bool_into_int(mask, IntDType::U32);
            Documents::Padded(words)
        }
        others => others,
    }
}

fn project_inputs(args: &ProjectArgs<CubeBackend>) -> wgsl::Project<'_> {
    wgsl::Project {
        scores: &args.scores,
        key: &args.key,
        value: &args.value,
        documents: borrow(&args.documents),
    }
}

fn attend_inputs(args: &AttendArgs<CubeBackend>) -> wgsl::Attend<'_> {
    wgsl::Attend {
        query: &args.query,
        key: &args.key,
        value: &args.value,
        landmarks: match &args.landmarks {
            Landmarks::Rows { key, value } => Some((key, value)),
            Landmarks::None => None,
        },
        landmark_bias: args.landmark_bias.as_option(),
        bias: args.bias.as_option(),
        relative_keys: args.relative_keys.as_option(),
        documents: borrow(&args.documents),
        visibility: args.visibility,
        scale: args.scale,
        dropout: args.dropout,
    }
}
