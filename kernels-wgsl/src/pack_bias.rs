//! Launcher of `pack_bias.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::launch;
use crate::problem::Problem;

/// The bias table `[h, offsets]`.
pub(crate) fn pack_bias(problem: &Problem, context: &CubeTensor, bias: &CubeTensor) {
    let tile = problem.tiles.entries;
    let entries = problem.heads * problem.seen.visibility.window.offsets();
    let count = entries.div_ceil(4);
    launch(
        problem.shader(Kernel::PackBias, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        problem.info(Division::Blocks).count(count),
        &[("bias", bias), ("context", context)],
    );
}
