//! Launcher of `pack_bias.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::context::Context;
use crate::documents::Division;
use crate::launch::launch;
use crate::problem::Problem;
use crate::shader::Kernel;

/// The bias table `[h, offsets]`.
pub(crate) fn pack_bias(problem: &Problem, context: &Context, bias: &CubeTensor) {
    let tile = problem.tiles.entries;
    let entries = problem.heads * problem.seen.visibility.window.offsets();
    let count = entries.div_ceil(4);
    let shader = problem
        .shader(Kernel::PackBias, tile, Division::Blocks)
        .element(bias);
    let info = problem
        .info(context, Division::Blocks)
        .strides(&[bias])
        .count(count);
    launch(
        shader,
        count.div_ceil(tile.invocations),
        &[bias, &context.buffer],
        &info,
    );
}
