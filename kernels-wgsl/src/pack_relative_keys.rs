//! Launcher of `pack_relative_keys.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{as_rows, dims, launch};
use crate::problem::Problem;

/// Relative keys `[h, offsets, d]`.
pub(crate) fn pack_relative_keys(problem: &Problem, context: &CubeTensor, keys: &CubeTensor) {
    let tile = problem.tiles.entries;
    let [heads, offsets, _] = dims(keys);
    let count = heads * offsets * problem.vectors();
    launch(
        problem.shader(Kernel::PackRelativeKeys, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        problem.info(Division::Blocks).count(count),
        &[("relative_key", &as_rows(keys)), ("context", context)],
    );
}
