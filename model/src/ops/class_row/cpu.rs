//! The CPU kernels of a class row's reading over the float32 tensors of Flex and NdArray.

use burn::backend::tensor::FloatTensor;
use transformer_ls_kernels_cpu as kernels;

use super::{ClassRow, ClassRowBackend};
use crate::ops::Documents;
use crate::ops::cpu::{CpuBackend, Output, kernel_documents, ready_documents};

/// Inputs and documents as the kernels can read them.
fn ready<B: CpuBackend>(
    inputs: ClassRow<B>,
    documents: Documents<B>,
) -> (ClassRow<B>, Documents<B>) {
    let inputs = inputs.into_array().map(|tensor| B::ready(tensor, false));
    (ClassRow::from_array(inputs), ready_documents(documents))
}

/// What the kernels see of inputs that are ready.
fn kernel<'a, B: CpuBackend>(
    inputs: &'a ClassRow<B>,
    documents: &'a Documents<B>,
) -> kernels::ClassRow<'a, f32> {
    kernels::ClassRow {
        query: B::view(&inputs.query),
        key: B::view(&inputs.key),
        value: B::view(&inputs.value),
        context: B::view(&inputs.context),
        documents: kernel_documents(documents),
    }
}

impl<B: CpuBackend> ClassRowBackend for B {
    fn class_row(inputs: ClassRow<Self>, documents: Documents<Self>) -> FloatTensor<Self> {
        let (inputs, documents) = ready(inputs, documents);
        let inputs = kernel(&inputs, &documents);
        let mut output = Output::contiguous(inputs.query.shape());
        kernels::class_row(&inputs, &mut output.view());
        output.finish::<B>()
    }

    fn class_row_backward(
        d_output: FloatTensor<Self>,
        inputs: ClassRow<Self>,
        documents: Documents<Self>,
    ) -> ClassRow<Self> {
        let d_output = B::ready(d_output, false);
        let (inputs, documents) = ready(inputs, documents);
        let inputs = kernel(&inputs, &documents);
        let row = || Output::contiguous(inputs.query.shape());
        let (mut query, mut key, mut value) = (row(), row(), row());
        let mut context = Output::tokens(inputs.context.shape());
        kernels::class_row_backward(
            &inputs,
            B::view(&d_output),
            &mut kernels::ClassRowGradients {
                query: query.view(),
                key: key.view(),
                value: value.view(),
                context: context.view(),
            },
        );
        ClassRow::from_array([query, key, value, context].map(Output::finish::<B>))
    }
}
