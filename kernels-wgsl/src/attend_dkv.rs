//! Launcher of `attend_dkv.wgsl`.

use burn_backend::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::Window;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::launch::{dims, empty_rows, launch};
use crate::shader::{Gradients, Kernel};

/// Gradients for the window's keys and values, both `[b, h, m, d]`.
pub(crate) fn attend_dkv(backward: &Backward) -> (CubeTensor, CubeTensor) {
    let Backward {
        inputs,
        problem,
        context,
        d_output,
        stats,
    } = backward;
    let (query, key, value) = (inputs.query, inputs.key, inputs.value);
    if problem.seen.visibility.window == Window::Off {
        return (zeros_like(key), zeros_like(value));
    }
    let d_key = empty_rows(key, dims(key), key.dtype);
    let d_value = empty_rows(value, dims(value), value.dtype);
    let run = |gradients, tensors: &[&CubeTensor], buffers: &[&CubeTensor]| {
        let [tasks, of_one] = problem.tasks_of_keys(Division::Blocks);
        let count = tasks * problem.heads;
        launch(
            problem
                .shader(
                    Kernel::AttendDkv(gradients),
                    problem.tiles.attend_dkv,
                    Division::Blocks,
                )
                .rows(tensors),
            count,
            buffers,
            &problem
                .info(context, Division::Blocks)
                .strides(tensors)
                .tasks(of_one)
                .count(count),
        );
    };
    let context = &context.buffer;
    if problem.tiles.both_gradients {
        run(
            Gradients::Both,
            &[d_output, query, key, value, &d_key, &d_value],
            &[
                d_output, query, key, value, context, stats, &d_key, &d_value,
            ],
        );
    } else {
        run(
            Gradients::Keys,
            &[d_output, query, key, value, &d_key],
            &[d_output, query, key, value, context, stats, &d_key],
        );
        run(
            Gradients::Values,
            &[d_output, query, key, &d_value],
            &[d_output, query, key, context, stats, &d_value],
        );
    }
    (d_key, d_value)
}

fn zeros_like(tensor: &CubeTensor) -> CubeTensor {
    use burn_backend::ops::FloatTensorOps;
    let dtype = match tensor.dtype {
        DType::F16 => burn_backend::FloatDType::F16,
        _ => burn_backend::FloatDType::F32,
    };
    let shape = tensor.meta.shape().clone();
    <CubeBackend as FloatTensorOps<CubeBackend>>::float_zeros(shape, &tensor.device, dtype)
}
