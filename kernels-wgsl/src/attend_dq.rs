//! Launcher of `attend_dq.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::attend_backward::Backward;
use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty_rows, launch};

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
    let count = problem.tasks(Division::Blocks) * problem.heads;
    launch(
        problem.shader(Kernel::AttendDq, problem.tiles.attend_dq, Division::Blocks),
        count,
        problem.info(Division::Blocks).count(count),
        &[
            ("d_output", d_output),
            ("query", query),
            ("key", inputs.key),
            ("value", inputs.value),
            ("context", context),
            ("stats", stats),
            ("d_query", &d_query),
        ],
    );
    d_query
}
