//! CubeCL runtimes: a class row's reading by WGSL shaders.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use transformer_ls_kernels_wgsl as wgsl;

use super::{ClassRow, ClassRowBackend};
use crate::ops::Documents;
use crate::ops::cube::{borrow, whole_words};

/// What the shaders see.
fn view<'a>(
    inputs: &'a ClassRow<CubeBackend>,
    documents: &'a Documents<CubeBackend>,
) -> wgsl::ClassRow<'a> {
    let ClassRow {
        query,
        key,
        value,
        context: tokens,
    } = inputs;
    let width = tokens.shape().iter().last().copied().unwrap_or(0);
    if let Some(reason) = wgsl::refusal(&[tokens, query, key, value], width) {
        panic!("no shader computes a class row's reading here: {reason}");
    }
    wgsl::ClassRow {
        query,
        key,
        value,
        tokens,
        documents: borrow(documents),
    }
}

impl ClassRowBackend for CubeBackend {
    fn class_row(inputs: ClassRow<Self>, documents: Documents<Self>) -> FloatTensor<Self> {
        let documents = whole_words(documents);
        wgsl::class_row(&view(&inputs, &documents))
    }

    fn class_row_backward(
        d_output: FloatTensor<Self>,
        inputs: ClassRow<Self>,
        documents: Documents<Self>,
    ) -> ClassRow<Self> {
        let documents = whole_words(documents);
        let gradients = wgsl::class_row_backward(&d_output, &view(&inputs, &documents));
        ClassRow {
            query: gradients.query,
            key: gradients.key,
            value: gradients.value,
            context: gradients.tokens,
        }
    }
}
