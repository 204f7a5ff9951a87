//! Launchers of `gelu.wgsl` and of `gelu_backward.wgsl`.

use burn_cubecl::tensor::CubeTensor;

use crate::launch::launch;
use crate::layer_norm::FlatRows;
use crate::shader::Kernel;
use crate::tiles::{Limits, Tile};

/// The exact GELU, `x Φ(x)`, computed in float32.
///
/// # Shapes
///
/// Any; the result has the input's.
pub fn gelu(x: &CubeTensor) -> CubeTensor {
    elementwise(Kernel::Gelu, &[x])
}

/// Gradient of [`gelu`] for its input.
///
/// # Shapes
///
/// All alike.
pub fn gelu_backward(d_output: &CubeTensor, x: &CubeTensor) -> CubeTensor {
    elementwise(Kernel::GeluBackward, &[d_output, x])
}

fn elementwise(kernel: Kernel, inputs: &[&CubeTensor]) -> CubeTensor {
    let like = inputs[0];
    let rows = FlatRows::of(like);
    let tile = Tile::of_entries(&Limits::of(like));
    let output = rows.empty(like);
    let tensors: Vec<CubeTensor> = inputs
        .iter()
        .chain(&[&output])
        .map(|tensor| rows.view(tensor))
        .collect();
    let tensors: Vec<&CubeTensor> = tensors.iter().collect();
    let count = rows.rows * rows.vectors();
    launch(
        rows.shader(kernel, tile).rows(&tensors),
        count.div_ceil(tile.invocations),
        &tensors,
        &rows.info().strides(&tensors).count(count),
    );
    output
}
