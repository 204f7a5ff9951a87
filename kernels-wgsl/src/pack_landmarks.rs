//! Launcher of `pack_landmarks.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::context::Context;
use crate::documents::Division;
use crate::launch::launch;
use crate::problem::Problem;
use crate::shader::Kernel;

/// Landmark keys and values, both `[documents, h, r, d]`.
pub(crate) fn pack_landmarks(
    problem: &Problem,
    context: &Context,
    key: &CubeTensor,
    value: &CubeTensor,
) {
    let tile = problem.tiles.entries;
    let count = problem.documents * problem.heads * problem.landmarks * 2 * problem.vectors();
    let tensors = [key, value];
    let shader = problem
        .shader(Kernel::PackLandmarks, tile, Division::Blocks)
        .rows(&tensors);
    let info = problem
        .info(context, Division::Blocks)
        .strides(&tensors)
        .count(count);
    launch(
        shader,
        count.div_ceil(tile.invocations),
        &[key, value, &context.buffer],
        &info,
    );
}
