//! Launcher of `attend_dbias.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::launch::{dims, empty, launch};
use crate::shader::Kernel;
use crate::sum_bias::sum_bias;

/// Gradient for the bias table, `[h, offsets]`.
pub(crate) fn attend_dbias(backward: &Backward, bias: &CubeTensor) -> CubeTensor {
    let Backward {
        inputs,
        problem,
        context,
        d_output,
        stats,
    } = backward;
    let tile = problem.tiles.entries;
    let [heads, offsets] = dims(bias);
    let tasks = problem.tasks(Division::Splits);
    let parts = empty(bias, [(tasks * heads * offsets).max(1)], DType::F32);
    let tensors = [d_output, inputs.query, inputs.key, inputs.value];
    launch(
        problem
            .shader(Kernel::AttendDbias, tile, Division::Splits)
            .rows(&tensors),
        (tasks * heads * offsets).div_ceil(tile.invocations),
        &[
            d_output,
            inputs.query,
            inputs.key,
            inputs.value,
            &context.buffer,
            stats,
            &parts,
        ],
        &problem
            .info(context, Division::Splits)
            .strides(&tensors)
            .count(tasks * heads),
    );

    sum_bias(problem, context, &parts, bias)
}
