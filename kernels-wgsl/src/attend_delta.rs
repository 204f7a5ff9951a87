//! Launcher of `attend_delta.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::context::Context;
use crate::documents::Division;
use crate::launch::{empty, launch};
use crate::problem::Problem;
use crate::shader::Kernel;

/// (log-sum-exp, Σ d_output ∘ output) of each query, `[b, h, n, 2]`.
pub(crate) fn attend_delta(
    problem: &Problem,
    context: &Context,
    d_output: &CubeTensor,
    output: &CubeTensor,
    log_sum_exp: &CubeTensor,
) -> CubeTensor {
    let tile = problem.tiles.entries;
    let shape = [problem.rows, problem.heads, problem.tokens, 2];
    let stats = empty(d_output, shape, DType::F32);
    let count = problem.rows * problem.heads * problem.tokens;
    let tensors = [d_output, output];
    launch(
        problem
            .shader(Kernel::AttendDelta, tile, Division::Blocks)
            .rows(&tensors),
        count.div_ceil(tile.invocations),
        &[d_output, output, log_sum_exp, &context.buffer, &stats],
        &problem
            .info(context, Division::Blocks)
            .strides(&tensors)
            .count(count),
    );
    stats
}
