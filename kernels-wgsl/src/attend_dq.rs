//! Launcher of `attend_dq.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::launch::{dims, empty_rows, launch};
use crate::shader::Kernel;

/// Gradient for the queries, `[b, h, n, d]`.
pub(crate) fn attend_dq(backward: &Backward) -> CubeTensor {
    let Backward {
        inputs,
        problem,
        context,
        d_output,
        stats,
    } = backward;
    let query = inputs.query;
    let d_query = empty_rows(query, dims(query), query.dtype);
    let tensors = [d_output, query, inputs.key, inputs.value, &d_query];
    let count = problem.tasks(Division::Blocks) * problem.heads;
    launch(
        problem
            .shader(Kernel::AttendDq, problem.tiles.attend_dq, Division::Blocks)
            .rows(&tensors),
        count,
        &[
            d_output,
            query,
            inputs.key,
            inputs.value,
            &context.buffer,
            stats,
            &d_query,
        ],
        &problem
            .info(context, Division::Blocks)
            .strides(&tensors)
            .count(count),
    );
    d_query
}
