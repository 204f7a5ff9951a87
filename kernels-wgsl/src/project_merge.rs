//! Launcher of `project_merge.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::problem::Problem;

/// Landmarks `[documents, h, r, 2·d + 1]` from the parts that `project` left.
pub(crate) fn project_merge(
    problem: &Problem,
    context: &CubeTensor,
    parts: &CubeTensor,
    dtype: DType,
) -> CubeTensor {
    let (heads, landmarks) = (problem.heads, problem.landmarks);
    let shape = [problem.documents, heads, landmarks, 2 * problem.width + 1];
    let output = empty(parts, shape, dtype);
    let tile = problem.tiles.entries;
    let count = problem.documents * heads * landmarks * 2 * problem.vectors();
    launch(
        problem.shader(Kernel::ProjectMerge, tile, Division::Splits),
        count.div_ceil(tile.invocations),
        problem.info(Division::Splits).count(count),
        &[("parts", parts), ("context", context), ("output", &output)],
    );
    output
}
