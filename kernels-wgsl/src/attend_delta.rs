//! Launcher of `attend_delta.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::problem::Problem;

/// (log-sum-exp, Σ d_output ∘ output) of each query, `[b, h, n, 2]`.
pub(crate) fn attend_delta(
    problem: &Problem,
    context: &CubeTensor,
    d_output: &CubeTensor,
    output: &CubeTensor,
    log_sum_exp: &CubeTensor,
) -> CubeTensor {
    let tile = problem.tiles.entries;
    let shape = [problem.rows, problem.heads, problem.tokens, 2];
    let stats = empty(d_output, shape, DType::F32);
    let count = problem.rows * problem.heads * problem.tokens;
    launch(
        problem.shader(Kernel::AttendDelta, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        problem.info(Division::Blocks).count(count),
        &[
            ("d_output", d_output),
            ("output", output),
            ("log_sum_exp", log_sum_exp),
            ("context", context),
            ("stats", &stats),
        ],
    );
    stats
}
