//! CubeCL runtimes (WGPU, CUDA, ROCm), one backend type to Burn: the WGSL kernels where the
//! runtime compiles WGSL, the plain bodies elsewhere. The choice is made call by call, since one
//! build may serve several devices.

use std::sync::{Mutex, PoisonError};

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels_cpu::dropout;
use transformer_ls_kernels_wgsl as wgsl;

use super::{
    AttendGradients, AttentionDropout, Documents, Gradient, Landmarks, LongShortBackend,
    OffsetBias, ProjectGradients, ProjectOutput, Window, path, plain,
};

impl LongShortBackend for CubeBackend {
    fn project(
        scores: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> ProjectOutput<Self> {
        if !takes(&[&scores, &key, &value], &documents) {
            return plain::project::<Self>(scores, key, value, documents);
        }
        ProjectOutput {
            landmarks: wgsl::project(&scores, &key, &value, &borrow(&documents)),
            key,
            value,
        }
    }

    fn project_backward(
        d_landmarks: FloatTensor<Self>,
        d_key: Gradient<Self>,
        d_value: Gradient<Self>,
        scores: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        landmarks: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> ProjectGradients<Self> {
        if !takes(
            &[&key, &value, &scores, &d_landmarks, &landmarks],
            &documents,
        ) {
            return plain::project_backward::<Self>(
                d_landmarks,
                d_key,
                d_value,
                scores,
                key,
                value,
                landmarks,
                documents,
            );
        }
        // The kernel adds to both or to none.
        let (added, d_key, d_value) = match (d_key, d_value) {
            (Gradient::Some(key), Gradient::Some(value)) => {
                (Some((key, value)), Gradient::None, Gradient::None)
            }
            others => (None, others.0, others.1),
        };
        let (scores, key, value) = wgsl::project_backward(
            &d_landmarks,
            added,
            &scores,
            &key,
            &value,
            &landmarks,
            &borrow(&documents),
        );
        ProjectGradients { scores, key, value }.plus(d_key, d_value)
    }

    fn attend(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        landmarks: Landmarks<Self>,
        bias: OffsetBias<Self>,
        documents: Documents<Self>,
        window: Window,
        scale: f64,
        dropout: AttentionDropout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !takes(
            &tensors(&[&query, &key, &value], &landmarks, &bias),
            &documents,
        ) {
            return plain::attend::<Self>(
                query, key, value, landmarks, bias, documents, window, scale, dropout,
            );
        }
        wgsl::attend(&inputs(
            query, key, value, landmarks, bias, &documents, window, scale, dropout,
        ))
    }

    fn attend_backward(
        d_output: FloatTensor<Self>,
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        landmarks: Landmarks<Self>,
        bias: OffsetBias<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        documents: Documents<Self>,
        window: Window,
        scale: f64,
        dropout: AttentionDropout,
    ) -> AttendGradients<Self> {
        let own = [&query, &key, &value, &d_output, &output];
        if !takes(&tensors(&own, &landmarks, &bias), &documents) {
            return plain::attend_backward::<Self>(
                d_output,
                query,
                key,
                value,
                landmarks,
                bias,
                output,
                log_sum_exp,
                documents,
                window,
                scale,
                dropout,
            );
        }
        let inputs = inputs(
            query, key, value, landmarks, bias, &documents, window, scale, dropout,
        );
        let gradients = wgsl::attend_backward(&d_output, &inputs, &output, &log_sum_exp);
        AttendGradients {
            query: gradients.query,
            key: gradients.key,
            value: gradients.value,
            landmarks: match gradients.landmarks {
                Some((key, value)) => Landmarks::Rows { key, value },
                None => Landmarks::None,
            },
            bias: match gradients.bias {
                Some(table) => OffsetBias::Table(table),
                None => OffsetBias::None,
            },
        }
    }
}

/// Whether the WGSL kernels take these tensors, the second of which (or the only one) is
/// `[b, h, n, d]`. A refusal by a device that could is logged once for each reason.
fn takes(tensors: &[&CubeTensor], documents: &Documents<CubeBackend>) -> bool {
    if path::plain_is_asked_for() {
        return false;
    }
    let key = tensors[tensors.len().min(2) - 1];
    let width = key.shape().iter().last().copied().unwrap_or(0);
    let refusal = wgsl::refusal(tensors, width).or(match documents {
        // A mask is read as words of 32 bits, which is what WGPU's booleans are.
        Documents::Padded(mask) if mask.dtype.size() != DType::U32.size() => {
            Some("its booleans are not words of 32 bits")
        }
        _ => None,
    });
    if let Some(reason) = refusal
        && wgsl::runs_wgsl(&key.device)
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

fn tensors<'a>(
    own: &[&'a CubeTensor],
    landmarks: &'a Landmarks<CubeBackend>,
    bias: &'a OffsetBias<CubeBackend>,
) -> Vec<&'a CubeTensor> {
    let mut all = own.to_vec();
    if let Landmarks::Rows { key, value } = landmarks {
        all.extend([key, value]);
    }
    if let OffsetBias::Table(table) = bias {
        all.push(table);
    }
    all
}

fn borrow(documents: &Documents<CubeBackend>) -> wgsl::Documents<'_> {
    match documents {
        Documents::Full => wgsl::Documents::Full,
        Documents::Padded(mask) => wgsl::Documents::Padded(mask),
        Documents::Packed(boundaries) => wgsl::Documents::Packed(boundaries.offsets()),
    }
}

fn inputs<'a>(
    query: CubeTensor,
    key: CubeTensor,
    value: CubeTensor,
    landmarks: Landmarks<CubeBackend>,
    bias: OffsetBias<CubeBackend>,
    documents: &'a Documents<CubeBackend>,
    window: Window,
    scale: f64,
    dropout: AttentionDropout,
) -> wgsl::Attend<'a> {
    wgsl::Attend {
        query,
        key,
        value,
        landmarks: match landmarks {
            Landmarks::Rows { key, value } => Some((key, value)),
            Landmarks::None => None,
        },
        bias: match bias {
            OffsetBias::Table(table) => Some(table),
            OffsetBias::None => None,
        },
        documents: borrow(documents),
        window: match window {
            Window::Off => 0,
            Window::Segments { width } => width,
        },
        scale: scale as f32,
        dropout: (dropout.probability > 0.0).then(|| wgsl::Dropout {
            seed: dropout.seed,
            threshold: dropout::threshold(dropout.probability),
            factor: dropout.scale() as f32,
        }),
    }
}
