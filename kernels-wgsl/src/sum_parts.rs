//! Launcher of `sum_parts.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty_rows, launch};
use crate::problem::Problem;

/// Gradients like `key` and `value`, both `[documents, h, r, d]`, from the parts that
/// `attend_dlandmarks` left.
pub(crate) fn sum_parts(
    problem: &Problem,
    context: &CubeTensor,
    parts: &CubeTensor,
    key: &CubeTensor,
    value: &CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let d_key = empty_rows(key, dims(key), key.dtype);
    let d_value = empty_rows(value, dims(value), value.dtype);
    let tile = problem.tiles.entries;
    let count = problem.documents * problem.heads * problem.landmarks * 2 * problem.vectors();
    launch(
        problem.shader(Kernel::SumParts, tile, Division::Splits),
        count.div_ceil(tile.invocations),
        problem.info(Division::Splits).count(count),
        &[
            ("parts", parts),
            ("context", context),
            ("d_key", &d_key),
            ("d_value", &d_value),
        ],
    );
    (d_key, d_value)
}
