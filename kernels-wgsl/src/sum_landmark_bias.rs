//! Launcher of `sum_landmark_bias.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
use crate::problem::Problem;

/// The gradient like `bias` `[documents, h, r]`, from the parts that `attend_dlandmarks` left.
pub(crate) fn sum_landmark_bias(
    problem: &Problem,
    context: &CubeTensor,
    parts: &CubeTensor,
    bias: &CubeTensor,
) -> CubeTensor {
    let tile = problem.tiles.entries;
    let [documents, heads, landmarks] = dims(bias);
    let d_bias = empty(bias, [documents, heads, landmarks], bias.dtype);
    let count = documents * heads * landmarks;
    launch(
        problem.shader(Kernel::SumLandmarkBias, tile, Division::Splits),
        count.div_ceil(tile.invocations),
        problem.info(Division::Splits).count(count),
        &[("parts", parts), ("context", context), ("d_bias", &d_bias)],
    );
    d_bias
}
