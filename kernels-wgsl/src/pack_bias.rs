//! Launcher of `pack_bias.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::{dims, launch};
use crate::problem::Problem;

/// A bias `[documents, h, columns]`, from the word `to` on.
pub(crate) fn pack_bias(problem: &Problem, context: &CubeTensor, bias: &CubeTensor, to: usize) {
    let tile = problem.tiles.entries;
    let [documents, heads, columns] = dims(bias);
    let length = documents * heads * columns;
    let count = length.div_ceil(4);
    let mut info = problem.info(Division::Blocks).count(count);
    info.context[0] = to as u32;
    info.tasks[1] = length as u32;
    info.chunks[3] = columns as u32;
    launch(
        problem.shader(Kernel::PackBias, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        info,
        &[("bias", bias), ("context", context)],
    );
}
