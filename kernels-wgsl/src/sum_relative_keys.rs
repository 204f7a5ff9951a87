//! Launcher of `sum_relative_keys.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, for_all, launch};
use crate::problem::Problem;

/// The gradient like `keys` `[h, entries, d]`, from the parts that `attend_dtables` left.
pub(crate) fn sum_relative_keys(
    problem: &Problem,
    parts: &CubeTensor,
    keys: &CubeTensor,
) -> CubeTensor {
    let tile = problem.tiles.entries;
    let [heads, entries, width] = dims(keys);
    let d_keys = empty(keys, [heads, entries, width], keys.dtype);
    let count = problem.tasks(Division::Splits);
    launch(
        problem.shader(Kernel::SumRelativeKeys, tile, Division::Splits),
        (heads * entries * problem.vectors()).div_ceil(tile.invocations),
        problem.info(Division::Splits).count(count),
        &[("parts", parts), ("d_relative_key", &for_all(&d_keys))],
    );
    d_keys
}
