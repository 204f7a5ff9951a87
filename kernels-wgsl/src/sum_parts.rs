//! Launcher of `sum_parts.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::context::Context;
use crate::documents::Division;
use crate::launch::{dims, empty_rows, launch};
use crate::problem::Problem;
use crate::shader::Kernel;

/// Gradients like `key` and `value`, both `[documents, h, r, d]`, from the parts that
/// `attend_dlandmarks` left.
pub(crate) fn sum_parts(
    problem: &Problem,
    context: &Context,
    parts: &CubeTensor,
    key: &CubeTensor,
    value: &CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let d_key = empty_rows(key, dims(key), key.dtype);
    let d_value = empty_rows(value, dims(value), value.dtype);
    let tile = problem.tiles.entries;
    let tensors = [&d_key, &d_value];
    let count = problem.documents * problem.heads * problem.landmarks * 2 * problem.vectors();
    launch(
        problem
            .shader(Kernel::SumParts, tile, Division::Splits)
            .rows(&tensors),
        count.div_ceil(tile.invocations),
        &[parts, &context.buffer, &d_key, &d_value],
        &problem
            .info(context, Division::Splits)
            .strides(&tensors)
            .count(count),
    );
    (d_key, d_value)
}
