//! Class rows read the outputs of their documents, where kernels compute that: in the CPU kernels, and
//! in the shaders on devices that compile WGSL. Elsewhere modules compose the reading of other
//! operations.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the trait, its rule of autodiff, and the operation over `Tensor` |
//! | `cpu.rs` | the CPU kernels over Flex's and NdArray's tensors |
//! | `cube.rs` | the shaders |

#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Tensor, assert_shape};

use super::autodiff::inner_documents;
use super::fused::Fused;
use super::layers::shader_layers;
use super::record::record;
use super::{Documents, Layout};

/// What a class row's reading takes, or the gradients.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ClassRow<B: Backend> {
    /// `[documents, h, 1, d]`
    pub query: FloatTensor<B>,
    /// `[documents, h, 1, d]`
    pub key: FloatTensor<B>,
    /// `[documents, h, 1, d]`
    pub value: FloatTensor<B>,
    /// The outputs that are read, `[b, h, n, d]`.
    pub context: FloatTensor<B>,
}

impl<B: Backend> ClassRow<B> {
    /// In the order of [`into_array`](Self::into_array).
    fn from_array([query, key, value, context]: [FloatTensor<B>; 4]) -> Self {
        Self {
            query,
            key,
            value,
            context,
        }
    }

    fn into_array(self) -> [FloatTensor<B>; 4] {
        [self.query, self.key, self.value, self.context]
    }
}

/// The reading, on backends with kernels for it, and on `Autodiff` of these.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait ClassRowBackend: Backend {
    /// Class rows read the outputs of their documents: with `p = softmax([q·k, q·C_1 … q·C_n])` over
    /// the real tokens, `p_0 v + Σ p_i C_i`; 0 for a document without a real token.
    ///
    /// # Shapes
    ///
    /// - output: `[documents, h, 1, d]`
    #[fusion(meta = class_row_output)]
    fn class_row(
        #[extension_type] inputs: ClassRow<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> FloatTensor<Self>;

    /// Gradients of [`class_row`](Self::class_row).
    ///
    /// # Shapes
    ///
    /// - d_output: `[documents, h, 1, d]`
    ///
    /// # Panics
    ///
    /// Panics on `Autodiff`: no gradients of gradients are computed.
    #[fusion(meta = class_row_gradients)]
    fn class_row_backward(
        d_output: FloatTensor<Self>,
        #[extension_type] inputs: ClassRow<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> ClassRow<Self>;
}

// Shapes and types of outputs, which Fusion needs before it runs an operation.

#[cfg(feature = "fusion")]
fn class_row_output(
    inputs: &ClassRowMetadata,
    _documents: &super::DocumentsMetadata,
) -> TensorSpec {
    inputs.query.clone()
}

#[cfg(feature = "fusion")]
fn class_row_gradients(
    _d_output: &TensorSpec,
    inputs: &ClassRowMetadata,
    _documents: &super::DocumentsMetadata,
) -> ClassRowMetadata {
    inputs.clone()
}

impl<B: ClassRowBackend, C: CheckpointStrategy> ClassRowBackend for Autodiff<B, C> {
    fn class_row(inputs: ClassRow<Self>, documents: Documents<Self>) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            inputs.into_array(),
            inner_documents::<B, C>(documents),
            |inputs, documents| B::class_row(ClassRow::from_array(inputs), documents),
            |d_output, inputs, documents| {
                B::class_row_backward(d_output, ClassRow::from_array(inputs), documents)
                    .into_array()
            },
        )
    }

    fn class_row_backward(
        _d_output: FloatTensor<Self>,
        _inputs: ClassRow<Self>,
        _documents: Documents<Self>,
    ) -> ClassRow<Self> {
        panic!("a class row's reading has no gradients of gradients")
    }
}

/// The widest head that the shaders take.
#[cfg(feature = "cube")]
const WIDEST_HEAD: usize = transformer_ls_kernels_wgsl::MAX_WIDTH;
#[cfg(not(feature = "cube"))]
const WIDEST_HEAD: usize = 0;

/// Whether kernels compute the reading of such outputs, `[b, h, n, d]`.
pub(crate) fn reads_by_kernels(context: &Tensor<4>) -> bool {
    let [_, _, n, d] = context.dims();
    Fused::of(context).is_some() || (shader_layers(context) && d <= WIDEST_HEAD && n > 0)
}

/// Class rows read the outputs of their documents: [`ClassRowBackend::class_row`].
///
/// # Shapes
///
/// - row: query, key, value, `[documents, h, 1, d]` each
/// - context: `[b, h, n, d]`
/// - output: `[documents, h, 1, d]`
///
/// # Panics
///
/// Panics if the shapes do not fit each other or the layout, or if no kernel computes this
/// ([`reads_by_kernels`]).
pub(crate) fn class_row(row: [Tensor<4>; 3], context: Tensor<4>, layout: Layout) -> Tensor<4> {
    let [b, h, n, d] = context.dims();
    layout.check(b, n);
    let documents = layout.documents(b);
    for part in &row {
        assert_shape!(part, [documents, h, 1, d]);
    }
    let [query, key, value] = row;
    let inputs = [query, key, value, context].map(Tensor::into_dispatch);
    let documents = layout.into_dispatch();
    let inputs = ClassRow::from_array(inputs);
    Tensor::from_dispatch(<Dispatch as ClassRowBackend>::class_row(inputs, documents))
}
