//! The operations over [`Tensor`], for modules.

use burn::backend::Dispatch;
use burn::tensor::{Bool, Device, Tensor, TensorData, assert_shape};

use transformer_ls_kernels::{AttendShapes, ProjectShapes};

#[cfg(doc)]
use super::Window;
use super::{
    AttendArgs, AttentionDropout, Boundaries, LongShortBackend, OptionalTensor, ProjectArgs,
    Visibility,
};

/// How documents lie in a batch: [`Documents`](super::Documents) over tensors.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a batch has one; boxing its mask would be in every caller's way"
)]
pub enum Layout {
    /// One document a row, every token real.
    Full,
    /// One document a row; mask `[b, n]`, true = a real token. Real tokens may lie anywhere.
    Padded(Tensor<2, Bool>),
    /// All documents end to end in one row, `[1, Σn, …]`, nothing between them.
    Packed(Boundaries),
}

impl Layout {
    pub(super) fn into_dispatch(self) -> super::Documents<Dispatch> {
        match self {
            Self::Full => super::Documents::Full,
            Self::Padded(mask) => super::Documents::Padded(mask.into_dispatch()),
            Self::Packed(boundaries) => super::Documents::Packed(boundaries),
        }
    }

    /// Where the documents of a packed batch begin and end.
    pub(super) fn boundaries(&self) -> Option<&Boundaries> {
        match self {
            Self::Full | Self::Padded(_) => None,
            Self::Packed(boundaries) => Some(boundaries),
        }
    }

    /// How many documents a batch of `rows` rows has.
    pub fn documents(&self, rows: usize) -> usize {
        match self {
            Self::Full | Self::Padded(_) => rows,
            Self::Packed(boundaries) => boundaries.count(),
        }
    }

    /// Each token's position in its document, alike for every row of `n` tokens.
    pub(crate) fn positions(&self, n: usize) -> Vec<usize> {
        match self {
            Self::Full | Self::Padded(_) => (0..n).collect(),
            Self::Packed(boundaries) => boundaries.positions(),
        }
    }

    /// 1 for a document with a real token, 0 for one without, `[documents]`; none if all have.
    pub(crate) fn document_is_real(&self, device: &Device) -> Option<Tensor<1>> {
        match self {
            Self::Full => None,
            Self::Padded(mask) => {
                let [b, _] = mask.dims();
                let any = mask.clone().float().max_dim(1).reshape([b]);
                Some(any)
            }
            Self::Packed(boundaries) => {
                let real: Vec<f32> = boundaries
                    .ranges()
                    .map(|range| if range.is_empty() { 0.0 } else { 1.0 })
                    .collect();
                let all = real.iter().all(|&real| real == 1.0);
                let count = real.len();
                (!all).then(|| Tensor::from_data(TensorData::new(real, [count]), device))
            }
        }
    }

    /// Checks that a batch `[b, n, …]` can lie like this.
    ///
    /// # Panics
    ///
    /// Panics if the mask has another shape, or if a packed batch has more than one row or another
    /// number of tokens than its boundaries.
    pub fn check(&self, b: usize, n: usize) {
        match self {
            Self::Full => {}
            Self::Padded(mask) => assert_shape!(mask, [b, n]),
            Self::Packed(boundaries) => boundaries.check(b, n),
        }
    }
}

/// What [`project`] returns.
#[derive(Clone, Debug)]
pub struct Projected {
    /// Landmark keys `[documents, h, r, d]`.
    pub key: Tensor<4>,
    /// Landmark values `[documents, h, r, d]`.
    pub value: Tensor<4>,
    /// `log Σ exp` of each landmark's scores `[documents, h, r, 1]`; differentiable.
    pub log_sum_exp: Tensor<4>,
    /// The keys as they came in `[b, h, n, d]`: give these to [`attend`], whose gradients for them
    /// then need no memory of their own.
    pub tokens_key: Tensor<4>,
    /// The values as they came in `[b, h, n, d]`, likewise.
    pub tokens_value: Tensor<4>,
}

/// Landmarks of every document: [`LongShortBackend::project`].
///
/// # Shapes
///
/// - scores: `[b, h, r, n]`
/// - key, value: `[b, h, n, d]`
///
/// # Panics
///
/// Panics if the shapes do not fit each other or the layout.
pub fn project(scores: Tensor<4>, key: Tensor<4>, value: Tensor<4>, layout: Layout) -> Projected {
    let [b, _, n, d] = key.dims();
    layout.check(b, n);
    let shapes = ProjectShapes {
        scores: scores.dims(),
        key: key.dims(),
        value: value.dims(),
    };
    shapes.check();
    let output = <Dispatch as LongShortBackend>::project(ProjectArgs {
        scores: scores.into_dispatch(),
        key: key.into_dispatch(),
        value: value.into_dispatch(),
        documents: layout.into_dispatch(),
    });
    let landmarks = Tensor::<4>::from_dispatch(output.landmarks);
    Projected {
        key: landmarks.clone().narrow(3, 0, d),
        value: landmarks.clone().narrow(3, d, d),
        log_sum_exp: landmarks.narrow(3, 2 * d, 1),
        tokens_key: Tensor::from_dispatch(output.key),
        tokens_value: Tensor::from_dispatch(output.value),
    }
}

/// What [`attend`] returns.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[b, h, n, d]`
    pub output: Tensor<4>,
    /// `log Σ exp` of each query's scores `[b, h, n]`; a constant to autodiff.
    pub log_sum_exp: Tensor<3>,
}

/// What [`attend`] takes: [`AttendArgs`] over tensors.
///
/// # Shapes
///
/// - query: `[b, h, n, d]`
/// - key, value: `[b, h, m, d]`; `m` is `n` but for [`Layout::Full`]
#[derive(Clone, Debug)]
pub struct Attend {
    /// `[b, h, n, d]`
    pub query: Tensor<4>,
    /// `[b, h, m, d]`
    pub key: Tensor<4>,
    /// `[b, h, m, d]`
    pub value: Tensor<4>,
    /// Keys and values, both `[documents, h, r, d]`, `r ≥ 1`.
    pub landmarks: Option<(Tensor<4>, Tensor<4>)>,
    /// `[documents, h, r]`: what is added to all scores of a landmark.
    pub landmark_bias: Option<Tensor<3>>,
    /// `[h, offsets]` with [`Window::offsets`], or `[h, offsets + r]`: what is added to scores by offset.
    pub bias: Option<Tensor<2>>,
    /// `[h, offsets, d]` or `[h, offsets + r, d]` likewise: keys by offset, which queries meet besides
    /// their own.
    pub relative_keys: Option<Tensor<3>>,
    /// How documents lie in the batch.
    pub layout: Layout,
    /// What a query sees.
    pub visibility: Visibility,
    /// What products of queries and keys are multiplied by, usually `1 / √d`.
    pub scale: f64,
    /// Dropout of probabilities.
    pub dropout: AttentionDropout,
}

/// Attention over `[landmarks | window]`: [`LongShortBackend::attend`].
///
/// # Panics
///
/// Panics if the shapes do not fit each other, the layout or the visibility, if the window is off
/// and there are no landmarks, or if there is a table by offset without a window that bounds offsets.
pub fn attend(inputs: Attend) -> Attended {
    let Attend {
        query,
        key,
        value,
        landmarks,
        landmark_bias,
        bias,
        relative_keys,
        layout,
        visibility,
        scale,
        dropout,
    } = inputs;
    let [b, _, n, _] = query.dims();
    layout.check(b, n);
    let shapes = AttendShapes {
        query: query.dims(),
        key: key.dims(),
        value: value.dims(),
        landmarks: (landmarks.as_ref()).map(|(key, value)| [key.dims(), value.dims()]),
        landmark_bias: landmark_bias.as_ref().map(Tensor::dims),
        bias: bias.as_ref().map(Tensor::dims),
        relative_keys: relative_keys.as_ref().map(Tensor::dims),
    };
    let same = !matches!(layout, Layout::Full);
    shapes.check(&visibility, layout.documents(b), same);
    let landmarks = match landmarks {
        None => super::Landmarks::None,
        Some((key, value)) => super::Landmarks::Rows {
            key: key.into_dispatch(),
            value: value.into_dispatch(),
        },
    };
    let (output, log_sum_exp) = <Dispatch as LongShortBackend>::attend(AttendArgs {
        query: query.into_dispatch(),
        key: key.into_dispatch(),
        value: value.into_dispatch(),
        landmarks,
        landmark_bias: OptionalTensor::from_option(landmark_bias.map(Tensor::into_dispatch)),
        bias: OptionalTensor::from_option(bias.map(Tensor::into_dispatch)),
        relative_keys: OptionalTensor::from_option(relative_keys.map(Tensor::into_dispatch)),
        documents: layout.into_dispatch(),
        visibility,
        scale,
        dropout,
    });
    Attended {
        output: Tensor::from_dispatch(output),
        log_sum_exp: Tensor::from_dispatch(log_sum_exp),
    }
}
