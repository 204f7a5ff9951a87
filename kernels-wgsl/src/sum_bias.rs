//! Launcher of `sum_bias.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
use crate::problem::Problem;

/// The gradient like `bias` `[h, entries]`, from the parts that `attend_dtables` left.
pub(crate) fn sum_bias(problem: &Problem, parts: &CubeTensor, bias: &CubeTensor) -> CubeTensor {
    let tile = problem.tiles.entries;
    let [heads, entries] = dims(bias);
    let d_bias = empty(bias, [heads, entries], bias.dtype);
    launch(
        problem.shader(Kernel::SumBias, tile, Division::Splits),
        (heads * entries).div_ceil(tile.invocations),
        problem
            .info(Division::Splits)
            .count(problem.tasks(Division::Splits)),
        &[("parts", parts), ("d_bias", &d_bias)],
    );
    d_bias
}
