//! Launcher of `project_delta.wgsl`.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::documents::Division;
use crate::kernel::Kernel;
use crate::launch::launch;
use crate::problem::Problem;

/// Writes the landmarks' gradients, and what goes with them, into the context.
pub(crate) fn project_delta(
    problem: &Problem,
    context: &CubeTensor,
    d_output: &CubeTensor,
    output: &CubeTensor,
) {
    let (d_output, output) = (
        into_contiguous(d_output.clone()),
        into_contiguous(output.clone()),
    );
    let tile = problem.tiles.entries;
    let count = problem.documents * problem.heads * problem.landmarks;
    launch(
        problem.shader(Kernel::ProjectDelta, tile, Division::Blocks),
        count.div_ceil(tile.invocations),
        problem.info(Division::Blocks).count(count),
        &[
            ("d_output", &d_output),
            ("output", &output),
            ("context", context),
        ],
    );
}
