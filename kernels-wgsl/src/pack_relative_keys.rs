//! Launcher of `pack_relative_keys.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, for_all, launch};
use crate::problem::Problem;

/// Relative keys `[h, entries, d]`.
pub(crate) fn pack_relative_keys(problem: &Problem, context: &CubeTensor, keys: &CubeTensor) {
    let tile = problem.tiles.entries;
    let [heads, entries, _] = dims(keys);
    let count = heads * entries * problem.vectors();
    launch(
        problem.shader(Kernel::PackRelativeKeys, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        problem.info(Division::Blocks).count(count),
        &[("relative_key", &for_all(keys)), ("context", context)],
    );
}
