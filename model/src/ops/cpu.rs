//! What the CPU backends share: the kernels of `kernels-cpu` over their tensors' own memory.
//!
//! Inputs are read where they lie, whatever their strides; outputs are written into memory
//! `[b, n, h, ·]`, so that merging heads afterwards costs nothing. Types other than float32 take
//! the plain path.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::DType;
use transformer_ls_kernels_cpu as kernels;
use transformer_ls_kernels_cpu::{View, ViewMut};

use super::layers::{EPSILON, LayerNormGradients, NormLayer};
use super::{
    AttendArgs, AttendBackwardArgs, AttendGradients, Documents, Landmarks, OptionalTensor,
    ProjectArgs, ProjectBackwardArgs, ProjectGradients, ProjectOutput, path,
};

/// What the kernels need to know of a CPU backend's float32 tensors.
pub(super) trait CpuBackend: Backend {
    /// The tensor itself if its strides suit the kernels (none negative, the last one 1 unless
    /// `any_last`), else a contiguous copy.
    fn ready(tensor: FloatTensor<Self>, any_last: bool) -> FloatTensor<Self>;

    /// Memory of a tensor that is ready; its rank must be 4.
    fn view(tensor: &FloatTensor<Self>) -> View<'_, f32>;

    /// Whether its values lie in logical order without gaps.
    fn is_contiguous(tensor: &FloatTensor<Self>) -> bool;

    /// The tensor itself if it [is contiguous](Self::is_contiguous), else a copy that is.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Memory of a tensor that is [`contiguous`](Self::contiguous).
    fn slice(tensor: &FloatTensor<Self>) -> &[f32];

    /// Takes over contiguous memory.
    fn own(data: Vec<f32>, shape: &[usize]) -> FloatTensor<Self>;

    /// Token ids, in logical order.
    fn ids(ids: IntTensor<Self>) -> Vec<u32>;

    /// The tensor itself if its values lie in logical order without gaps, else a copy of which that
    /// is true.
    fn mask(mask: BoolTensor<Self>) -> BoolTensor<Self>;

    /// Memory of a [`mask`](Self::mask), 1 = true.
    fn mask_slice(mask: &BoolTensor<Self>) -> &[u8];
}

/// The documents with a [`mask`](CpuBackend::mask) that the kernels read where it lies.
pub(super) fn ready_documents<B: CpuBackend>(documents: Documents<B>) -> Documents<B> {
    match documents {
        Documents::Padded(mask) => Documents::Padded(B::mask(mask)),
        other => other,
    }
}

/// What the kernels see of documents that are ready.
pub(super) fn kernel_documents<B: CpuBackend>(documents: &Documents<B>) -> kernels::Documents<'_> {
    match documents {
        Documents::Full => kernels::Documents::Rows { mask: None },
        Documents::Padded(mask) => kernels::Documents::Rows {
            mask: Some(B::mask_slice(mask)),
        },
        Documents::Packed(boundaries) => kernels::Documents::Packed(boundaries),
    }
}

/// A tensor in the making, in memory that nobody has cleared beforehand: the kernels write all of
/// it, and clearing it costs as much as a pass of theirs.
pub(super) struct Unwritten {
    /// Of the capacity wanted, and of length 0 until it is written.
    data: Vec<f32>,
    shape: Vec<usize>,
}

impl Unwritten {
    pub(super) fn new(shape: &[usize]) -> Self {
        Self {
            data: Vec::with_capacity(shape.iter().product()),
            shape: shape.to_vec(),
        }
    }

    /// One of a tensor's shape.
    pub(super) fn like<B: CpuBackend>(tensor: &FloatTensor<B>) -> Self {
        Self::new(tensor.shape().as_slice())
    }

    /// The memory, for a kernel that writes all of it and reads none.
    pub(super) fn slice(&mut self) -> &mut [f32] {
        let len = self.shape.iter().product();
        debug_assert!(len <= self.data.capacity());
        // SAFETY: that much was allocated, every pattern of bits is a number, and the kernels read
        // no entry before they have written it (their tests fill outputs with NaN).
        unsafe { std::slice::from_raw_parts_mut(self.data.as_mut_ptr(), len) }
    }

    /// Takes over the memory, which a kernel has written.
    pub(super) fn finish<B: CpuBackend>(mut self) -> FloatTensor<B> {
        let len = self.shape.iter().product();
        // SAFETY: that much was allocated, and the kernel has written all of it.
        unsafe { self.data.set_len(len) };
        B::own(self.data, &self.shape)
    }
}

/// An output in the making: memory in one order of dimensions, seen in another.
pub(super) struct Output {
    data: Unwritten,
    memory: [usize; 4],
    /// Which dimension of the memory each logical one is.
    axes: [usize; 4],
}

impl Output {
    /// `[b, h, n, d]` in memory `[b, n, h, d]`.
    pub(super) fn tokens([b, h, n, d]: [usize; 4]) -> Self {
        Self::new([b, n, h, d], [0, 2, 1, 3])
    }

    /// `[b, h, r, n]` in memory `[b, n, h, r]`.
    fn scores([b, h, r, n]: [usize; 4]) -> Self {
        Self::new([b, n, h, r], [0, 2, 3, 1])
    }

    pub(super) fn contiguous(shape: [usize; 4]) -> Self {
        Self::new(shape, [0, 1, 2, 3])
    }

    fn new(memory: [usize; 4], axes: [usize; 4]) -> Self {
        Self {
            data: Unwritten::new(&memory),
            memory,
            axes,
        }
    }

    pub(super) fn view(&mut self) -> ViewMut<'_, f32> {
        let [_, b, c, d] = self.memory;
        let strides = [b * c * d, c * d, d, 1];
        let shape = self.axes.map(|axis| self.memory[axis]);
        ViewMut::new(
            self.data.slice(),
            shape,
            self.axes.map(|axis| strides[axis]),
        )
    }

    pub(super) fn finish<B: CpuBackend>(self) -> FloatTensor<B> {
        B::float_permute(self.data.finish::<B>(), &self.axes)
    }
}

/// The projection's inputs with tensors that are ready for the kernels.
fn ready_project<B: CpuBackend>(args: ProjectArgs<B>) -> ProjectArgs<B> {
    ProjectArgs {
        scores: B::ready(args.scores, true),
        key: B::ready(args.key, false),
        value: B::ready(args.value, false),
        documents: ready_documents(args.documents),
    }
}

/// What the kernels see of inputs that are ready.
fn project_kernel<B: CpuBackend>(args: &ProjectArgs<B>) -> kernels::Project<'_, f32> {
    kernels::Project {
        scores: B::view(&args.scores),
        key: B::view(&args.key),
        value: B::view(&args.value),
        documents: kernel_documents(&args.documents),
    }
}

pub(super) fn project<B: CpuBackend>(args: ProjectArgs<B>) -> ProjectOutput<B> {
    let (key, value) = (args.key.clone(), args.value.clone());
    let inputs = ready_project(args);
    let kernel = project_kernel(&inputs);
    let [b, h, r, _] = kernel.scores.shape();
    let [_, _, _, d] = kernel.key.shape();
    let mut output = Output::contiguous([kernel.documents.count(b), h, r, 2 * d + 1]);
    kernels::project(&kernel, &mut output.view());
    ProjectOutput {
        landmarks: output.finish::<B>(),
        key,
        value,
    }
}

pub(super) fn project_backward<B: CpuBackend>(args: ProjectBackwardArgs<B>) -> ProjectGradients<B> {
    let inputs = ready_project(args.inputs);
    let landmarks = B::ready(args.landmarks, false);
    let d_landmarks = B::ready(args.d_landmarks, false);
    let kernel = project_kernel(&inputs);
    let mut d_scores = Output::scores(kernel.scores.shape());
    let mut d_key = Output::tokens(kernel.key.shape());
    let mut d_value = Output::tokens(kernel.key.shape());
    let mut gradients = kernels::ProjectGradients {
        scores: d_scores.view(),
        key: d_key.view(),
        value: d_value.view(),
    };
    kernels::project_backward(
        &kernel,
        B::view(&landmarks),
        B::view(&d_landmarks),
        &mut gradients,
    );
    ProjectGradients {
        scores: d_scores.finish::<B>(),
        key: d_key.finish::<B>(),
        value: d_value.finish::<B>(),
    }
    .plus(args.d_key, args.d_value)
}

/// Attention's inputs with tensors that are ready for the kernels.
fn ready_attend<B: CpuBackend>(args: AttendArgs<B>) -> AttendArgs<B> {
    let table = |table: OptionalTensor<B>| {
        OptionalTensor::<B>::from_option(table.into_option().map(B::contiguous))
    };
    AttendArgs {
        query: B::ready(args.query, false),
        key: B::ready(args.key, false),
        value: B::ready(args.value, false),
        landmarks: match args.landmarks {
            Landmarks::None => Landmarks::None,
            Landmarks::Rows { key, value } => Landmarks::Rows {
                key: B::ready(key, false),
                value: B::ready(value, false),
            },
        },
        landmark_bias: table(args.landmark_bias),
        bias: table(args.bias),
        relative_keys: table(args.relative_keys),
        documents: ready_documents(args.documents),
        ..args
    }
}

/// What the kernels see of inputs that are ready.
fn attend_kernel<B: CpuBackend>(args: &AttendArgs<B>) -> kernels::Attend<'_, f32> {
    let query = B::view(&args.query);
    let documents = kernel_documents(&args.documents);
    let (landmark_key, landmark_value) = match &args.landmarks {
        Landmarks::Rows { key, value } => (B::view(key), B::view(value)),
        Landmarks::None => {
            let [b, h, _, d] = query.shape();
            let none = View::contiguous(&[], [documents.count(b), h, 0, d]);
            (none, none)
        }
    };
    kernels::Attend {
        query,
        key: B::view(&args.key),
        value: B::view(&args.value),
        landmark_key,
        landmark_value,
        landmark_bias: args.landmark_bias.as_option().map(B::slice),
        bias: args.bias.as_option().map(B::slice),
        relative_keys: args.relative_keys.as_option().map(B::slice),
        documents,
        visibility: args.visibility,
        scale: args.scale,
        dropout: args.dropout,
    }
}

pub(super) fn attend<B: CpuBackend>(args: AttendArgs<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let inputs = ready_attend(args);
    let kernel = attend_kernel(&inputs);
    let [b, h, n, d] = kernel.query.shape();
    let mut output = Output::tokens([b, h, n, d]);
    let mut log_sum_exp = Unwritten::new(&[b, h, n]);
    kernels::attend(&kernel, &mut output.view(), log_sum_exp.slice());
    (output.finish::<B>(), log_sum_exp.finish::<B>())
}

pub(super) fn attend_backward<B: CpuBackend>(args: AttendBackwardArgs<B>) -> AttendGradients<B> {
    let d_output = B::ready(args.d_output, false);
    let log_sum_exp = B::contiguous(args.log_sum_exp);
    let inputs = ready_attend(args.inputs);
    let kernel = attend_kernel(&inputs);
    let [_, h, _, d] = kernel.query.shape();
    let landmark_rows = kernel.landmark_key.shape();
    let mut d_query = Output::tokens(kernel.query.shape());
    let mut d_key = Output::tokens(kernel.key.shape());
    let mut d_value = Output::tokens(kernel.key.shape());
    let mut d_landmark_key = Output::contiguous(landmark_rows);
    let mut d_landmark_value = Output::contiguous(landmark_rows);
    let mut d_landmark_bias = kernel.landmark_bias.map(|table| vec![0.0; table.len()]);
    let mut d_bias = kernel.bias.map(|table| vec![0.0; table.len()]);
    let mut d_relative_keys = kernel.relative_keys.map(|table| vec![0.0; table.len()]);
    let mut gradients = kernels::AttendGradients {
        query: d_query.view(),
        key: d_key.view(),
        value: d_value.view(),
        landmark_key: d_landmark_key.view(),
        landmark_value: d_landmark_value.view(),
        landmark_bias: d_landmark_bias.as_deref_mut(),
        bias: d_bias.as_deref_mut(),
        relative_keys: d_relative_keys.as_deref_mut(),
    };
    kernels::attend_backward(
        &kernel,
        B::view(&d_output),
        B::slice(&log_sum_exp),
        &mut gradients,
    );
    AttendGradients {
        query: d_query.finish::<B>(),
        key: d_key.finish::<B>(),
        value: d_value.finish::<B>(),
        landmarks: match inputs.landmarks {
            Landmarks::None => Landmarks::None,
            Landmarks::Rows { .. } => Landmarks::Rows {
                key: d_landmark_key.finish::<B>(),
                value: d_landmark_value.finish::<B>(),
            },
        },
        landmark_bias: OptionalTensor::from_option(d_landmark_bias.map(|table| {
            let [documents, h, r, _] = landmark_rows;
            B::own(table, &[documents, h, r])
        })),
        bias: OptionalTensor::from_option(d_bias.map(|table| {
            let entries = table.len() / h;
            B::own(table, &[h, entries])
        })),
        relative_keys: OptionalTensor::from_option(d_relative_keys.map(|table| {
            let entries = table.len() / (h * d);
            B::own(table, &[h, entries, d])
        })),
    }
}

fn norm_kernel<B: CpuBackend>(layer: &NormLayer<B>) -> kernels::Norm<'_, f32> {
    kernels::Norm {
        gamma: B::slice(&layer.gamma),
        beta: B::slice(&layer.beta),
        epsilon: EPSILON,
    }
}

fn ready_norm<B: CpuBackend>(layer: NormLayer<B>) -> NormLayer<B> {
    NormLayer {
        gamma: B::contiguous(layer.gamma),
        beta: B::contiguous(layer.beta),
    }
}

pub(super) fn norm<B: CpuBackend>(x: FloatTensor<B>, layer: NormLayer<B>) -> FloatTensor<B> {
    let (x, layer) = (B::contiguous(x), ready_norm(layer));
    let mut output = Unwritten::like::<B>(&x);
    kernels::layer_norm(B::slice(&x), &norm_kernel(&layer), output.slice());
    output.finish::<B>()
}

pub(super) fn norm_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    x: FloatTensor<B>,
    layer: NormLayer<B>,
    added: OptionalTensor<B>,
) -> LayerNormGradients<B> {
    let (d_output, x, layer) = (B::contiguous(d_output), B::contiguous(x), ready_norm(layer));
    let added = added.into_option().map(B::contiguous);
    let mut d_x = Unwritten::like::<B>(&x);
    let [mut gamma, mut beta] = [&layer.gamma, &layer.beta].map(Unwritten::like::<B>);
    kernels::layer_norm_backward(
        B::slice(&d_output),
        B::slice(&x),
        &norm_kernel(&layer),
        added.as_ref().map(B::slice),
        d_x.slice(),
        &mut kernels::NormGradients {
            gamma: gamma.slice(),
            beta: beta.slice(),
        },
    );
    LayerNormGradients {
        x: d_x.finish::<B>(),
        layer: NormLayer {
            gamma: gamma.finish::<B>(),
            beta: beta.finish::<B>(),
        },
    }
}

pub(super) fn gelu<B: CpuBackend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let x = B::contiguous(x);
    let mut output = Unwritten::like::<B>(&x);
    kernels::gelu(B::slice(&x), output.slice());
    output.finish::<B>()
}

pub(super) fn gelu_backward<B: CpuBackend>(
    d_output: FloatTensor<B>,
    x: FloatTensor<B>,
) -> FloatTensor<B> {
    let (d_output, x) = (B::contiguous(d_output), B::contiguous(x));
    let mut d_x = Unwritten::like::<B>(&x);
    kernels::gelu_backward(B::slice(&d_output), B::slice(&x), d_x.slice());
    d_x.finish::<B>()
}

/// A linear layer that the kernel [takes](takes_layer).
pub(super) fn linear_layer<B: CpuBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    added: OptionalTensor<B>,
) -> FloatTensor<B> {
    let x = B::contiguous(x);
    let [bias, added] = [bias, added].map(|it| it.into_option().map(B::contiguous));
    let sizes = weight.shape().dims();
    let mut shape = x.shape().to_vec();
    if let Some(width) = shape.last_mut() {
        *width = sizes[1];
    }
    let mut output = Unwritten::new(&shape);
    kernels::linear(
        B::slice(&x),
        B::slice(&weight),
        sizes,
        bias.as_ref().map(B::slice),
        added.as_ref().map(B::slice),
        output.slice(),
    );
    output.finish::<B>()
}

/// Whether the kernel takes a linear layer: of few rows, with a weight that it can read where it lies.
pub(super) fn takes_layer<B: CpuBackend>(x: &FloatTensor<B>, weight: &FloatTensor<B>) -> bool {
    let shape = x.shape();
    let rows = &shape.as_slice()[..shape.num_dims() - 1];
    let few = rows.iter().product::<usize>() <= kernels::FEW_ROWS;
    few && takes::<B>(x) && weight.dtype() == DType::F32 && B::is_contiguous(weight)
}

/// LayerNorm and the GELU with their gradients, and linear layers of few rows, in an implementation of
/// `LayersBackend` for a [`CpuBackend`].
macro_rules! layers_on_cpu {
    () => {
        fn linear_layer(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: OptionalTensor<Self>,
            added: OptionalTensor<Self>,
        ) -> FloatTensor<Self> {
            let layer = match cpu::takes_layer::<Self>(&x, &weight) {
                true => cpu::linear_layer::<Self>,
                false => $crate::ops::layers::plain::linear_layer::<Self>,
            };
            layer(x, weight, bias, added)
        }

        fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
            match cpu::takes::<Self>(&x) {
                true => cpu::gelu::<Self>(x),
                false => $crate::ops::layers::plain::exact_gelu::<Self>(x),
            }
        }

        fn exact_gelu_backward(
            d_output: FloatTensor<Self>,
            x: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            match cpu::takes::<Self>(&x) {
                true => cpu::gelu_backward::<Self>(d_output, x),
                false => $crate::ops::layers::plain::exact_gelu_backward::<Self>(d_output, x),
            }
        }

        fn norm(x: FloatTensor<Self>, layer: NormLayer<Self>) -> FloatTensor<Self> {
            match cpu::takes::<Self>(&x) {
                true => cpu::norm(x, layer),
                false => $crate::ops::layers::plain::norm::<Self>(x, layer),
            }
        }

        fn norm_backward(
            d_output: FloatTensor<Self>,
            x: FloatTensor<Self>,
            layer: NormLayer<Self>,
            added: OptionalTensor<Self>,
        ) -> LayerNormGradients<Self> {
            match cpu::takes::<Self>(&x) {
                true => cpu::norm_backward(d_output, x, layer, added),
                false => {
                    $crate::ops::layers::plain::norm_backward::<Self>(d_output, x, layer, added)
                }
            }
        }
    };
}
pub(super) use layers_on_cpu;

/// Whether the kernels take this tensor and those that come with it.
pub(super) fn takes<B: CpuBackend>(tensor: &FloatTensor<B>) -> bool {
    tensor.dtype() == DType::F32 && !path::plain_is_asked_for()
}

/// Implements the operations for a [`CpuBackend`]: its kernels for float32, the plain path else.
macro_rules! on_cpu {
    ($backend:ty) => {
        impl $crate::ops::LongShortBackend for $backend {
            fn project(args: ProjectArgs<Self>) -> ProjectOutput<Self> {
                match cpu::takes::<Self>(&args.key) {
                    true => cpu::project(args),
                    false => plain::project(args),
                }
            }

            fn project_backward(args: ProjectBackwardArgs<Self>) -> ProjectGradients<Self> {
                match cpu::takes::<Self>(&args.inputs.key) {
                    true => cpu::project_backward(args),
                    false => plain::project_backward(args),
                }
            }

            fn attend(args: AttendArgs<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
                match cpu::takes::<Self>(&args.query) {
                    true => cpu::attend(args),
                    false => plain::attend(args),
                }
            }

            fn attend_backward(args: AttendBackwardArgs<Self>) -> AttendGradients<Self> {
                match cpu::takes::<Self>(&args.inputs.query) {
                    true => cpu::attend_backward(args),
                    false => plain::attend_backward(args),
                }
            }
        }
    };
}
pub(super) use on_cpu;
