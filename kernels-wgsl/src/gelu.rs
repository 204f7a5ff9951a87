//! Launchers of `gelu.wgsl` and of `gelu_backward.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::kernel::Kernel;
use crate::launch::launch;
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, Tile};

/// The exact GELU, `x Φ(x)`, computed in float32.
///
/// # Shapes
///
/// Any; the result has the input's.
pub fn gelu(x: &CubeTensor) -> CubeTensor {
    elementwise(Kernel::Gelu, &[("x", x)], "y")
}

/// Gradient of [`gelu`] for its input.
///
/// # Shapes
///
/// All alike.
pub fn gelu_backward(d_output: &CubeTensor, x: &CubeTensor) -> CubeTensor {
    elementwise(Kernel::GeluBackward, &[("d_y", d_output), ("x", x)], "d_x")
}

fn elementwise(
    kernel: Kernel,
    inputs: &[(&'static str, &CubeTensor)],
    output_name: &'static str,
) -> CubeTensor {
    let (_, like) = inputs[0];
    let rows = FlatRows::of(like);
    let tile = Tile::of_entries(&Limits::of(like));
    let output = rows.empty(like);
    let all = inputs.iter().copied().chain([(output_name, &output)]);
    let views: Vec<_> = all
        .map(|(name, tensor)| (name, rows.view(tensor)))
        .collect();
    let tensors: Vec<_> = views.iter().map(|(name, view)| (*name, view)).collect();
    let count = rows.rows * rows.vectors();
    launch(
        rows.shader(kernel, tile),
        count.div_ceil(tile.invocations),
        rows.info().count(count),
        &tensors,
    );
    output
}
