//! Class rows read the outputs of their documents, where kernels compute that: in the CPU kernels, and
//! in the shaders on devices that compile WGSL. Elsewhere modules compose the reading of other
//! operations, which is the oracle of the tests.

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

/// Gradients of [`ClassRowBackend::class_row`], each of its input's shape.
#[derive(ExtensionType, Clone, Debug)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct ClassRowGradients<B: Backend> {
    /// `[documents, h, 1, d]`
    pub query: FloatTensor<B>,
    /// `[documents, h, 1, d]`
    pub key: FloatTensor<B>,
    /// `[documents, h, 1, d]`
    pub value: FloatTensor<B>,
    /// `[b, h, n, d]`
    pub context: FloatTensor<B>,
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
    /// - query, key, value, output: `[documents, h, 1, d]`; context: `[b, h, n, d]`
    #[fusion(dtype = query, shape = query.clone())]
    fn class_row(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> FloatTensor<Self>;

    /// Gradients of [`class_row`](Self::class_row).
    ///
    /// # Shapes
    ///
    /// - d_output: `[documents, h, 1, d]`
    #[fusion(meta = class_row_gradients)]
    fn class_row_backward(
        d_output: FloatTensor<Self>,
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        #[extension_type] documents: Documents<Self>,
    ) -> ClassRowGradients<Self>;
}

/// Shapes and types of the gradients, which Fusion needs before it runs the operation.
#[cfg(feature = "fusion")]
fn class_row_gradients(
    _d_output: &TensorSpec,
    query: &TensorSpec,
    key: &TensorSpec,
    value: &TensorSpec,
    context: &TensorSpec,
    _documents: &super::DocumentsMetadata,
) -> ClassRowGradientsMetadata {
    ClassRowGradientsMetadata {
        query: query.clone(),
        key: key.clone(),
        value: value.clone(),
        context: context.clone(),
    }
}

impl<B: ClassRowBackend, C: CheckpointStrategy> ClassRowBackend for Autodiff<B, C> {
    fn class_row(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        context: FloatTensor<Self>,
        documents: Documents<Self>,
    ) -> FloatTensor<Self> {
        record::<B, C, _, _>(
            [query, key, value, context],
            inner_documents::<B, C>(documents),
            |[query, key, value, context], documents| {
                B::class_row(query, key, value, context, documents)
            },
            |d_output, [query, key, value, context], documents| {
                let gradients =
                    B::class_row_backward(d_output, query, key, value, context, documents);
                [
                    gradients.query,
                    gradients.key,
                    gradients.value,
                    gradients.context,
                ]
            },
        )
    }

    fn class_row_backward(
        _d_output: FloatTensor<Self>,
        _query: FloatTensor<Self>,
        _key: FloatTensor<Self>,
        _value: FloatTensor<Self>,
        _context: FloatTensor<Self>,
        _documents: Documents<Self>,
    ) -> ClassRowGradients<Self> {
        unimplemented!("gradients of gradients of a class row's reading")
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
    let [query, key, value] = row.map(Tensor::into_dispatch);
    let context = context.into_dispatch();
    let documents = layout.into_dispatch();
    Tensor::from_dispatch(<Dispatch as ClassRowBackend>::class_row(
        query, key, value, context, documents,
    ))
}

#[cfg(feature = "cpu")]
mod cpu {
    use super::*;
    use crate::ops::cpu::CpuBackend;
    use crate::ops::fused::{cpu_class_row, cpu_class_row_backward};

    impl<B: CpuBackend> ClassRowBackend for B {
        fn class_row(
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            context: FloatTensor<Self>,
            documents: Documents<Self>,
        ) -> FloatTensor<Self> {
            cpu_class_row::<Self>([query, key, value, context], documents)
        }

        fn class_row_backward(
            d_output: FloatTensor<Self>,
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            context: FloatTensor<Self>,
            documents: Documents<Self>,
        ) -> ClassRowGradients<Self> {
            let inputs = [query, key, value, context];
            let [query, key, value, context] =
                cpu_class_row_backward::<Self>(d_output, inputs, documents);
            ClassRowGradients {
                query,
                key,
                value,
                context,
            }
        }
    }
}

#[cfg(feature = "cube")]
mod cube {
    use burn_cubecl::CubeBackend;
    use transformer_ls_kernels_wgsl as wgsl;

    use super::*;
    use crate::ops::cube::{borrow, whole_words};

    impl ClassRowBackend for CubeBackend {
        fn class_row(
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            context: FloatTensor<Self>,
            documents: Documents<Self>,
        ) -> FloatTensor<Self> {
            let documents = whole_words(documents);
            wgsl::class_row(&wgsl::ClassRow {
                query: &query,
                key: &key,
                value: &value,
                tokens: &context,
                documents: borrow(&documents),
            })
        }

        fn class_row_backward(
            d_output: FloatTensor<Self>,
            query: FloatTensor<Self>,
            key: FloatTensor<Self>,
            value: FloatTensor<Self>,
            context: FloatTensor<Self>,
            documents: Documents<Self>,
        ) -> ClassRowGradients<Self> {
            let documents = whole_words(documents);
            let inputs = wgsl::ClassRow {
                query: &query,
                key: &key,
                value: &value,
                tokens: &context,
                documents: borrow(&documents),
            };
            let gradients = wgsl::class_row_backward(&d_output, &inputs);
            ClassRowGradients {
                query: gradients.query,
                key: gradients.key,
                value: gradients.value,
                context: gradients.tokens,
            }
        }
    }
}
