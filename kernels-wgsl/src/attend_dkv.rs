//! Launcher of `attend_dkv.wgsl`.

use burn_backend::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::Window;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::kernel::{Gradients, Kernel};
use crate::launch::{dims, empty_rows, launch};

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
    let run = |gradients, tensors: &[(&'static str, &CubeTensor)]| {
        let [tasks, of_one] = problem.tasks_of_keys(Division::Blocks);
        let count = tasks * problem.heads;
        launch(
            problem.shader(
                Kernel::AttendDkv(gradients),
                problem.tiles.attend_dkv,
                Division::Blocks,
            ),
            count,
            problem.info(Division::Blocks).tasks(of_one).count(count),
            tensors,
        );
    };
    let d_output = ("d_output", *d_output);
    let (query, key, value) = (("query", query), ("key", key), ("value", value));
    let (context, stats) = (("context", context), ("stats", stats));
    let (to_key, to_value) = (("d_key", &d_key), ("d_value", &d_value));
    if problem.tiles.both_gradients {
        run(
            Gradients::Both,
            &[
                d_output, query, key, value, context, stats, to_key, to_value,
            ],
        );
    } else {
        run(
            Gradients::Keys,
            &[d_output, query, key, value, context, stats, to_key],
        );
        run(
            Gradients::Values,
            &[d_output, query, key, context, stats, to_value],
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
