//! Launcher of `pack_landmarks.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::launch;
use crate::problem::Problem;

/// Landmark keys and values, both `[documents, h, r, d]`.
pub(crate) fn pack_landmarks(
    problem: &Problem,
    context: &CubeTensor,
    key: &CubeTensor,
    value: &CubeTensor,
) {
    let tile = problem.tiles.entries;
    let count = problem.documents * problem.heads * problem.landmarks * 2 * problem.vectors();
    launch(
        problem.shader(Kernel::PackLandmarks, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        problem.info(Division::Blocks).count(count),
        &[("key", key), ("value", value), ("context", context)],
    );
}
