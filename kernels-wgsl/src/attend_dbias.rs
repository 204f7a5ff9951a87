//! Launcher of `attend_dbias.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
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
    launch(
        problem.shader(Kernel::AttendDbias, tile, Division::Splits),
        (tasks * heads * offsets).div_ceil(tile.invocations),
        problem.info(context, Division::Splits).count(tasks * heads),
        &[
            ("d_output", d_output),
            ("query", inputs.query),
            ("key", inputs.key),
            ("value", inputs.value),
            ("context", &context.buffer),
            ("stats", stats),
            ("parts", &parts),
        ],
    );

    sum_bias(problem, context, &parts, bias)
}
