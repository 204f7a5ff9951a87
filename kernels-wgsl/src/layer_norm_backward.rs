//! Launchers of `layer_norm_backward.wgsl` and of `sum_layer_norm.wgsl`.

use burn_backend::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::launch::{empty, launch};
use crate::layer_norm::FlatRows;
use crate::shader::Kernel;
use crate::tiles::{Limits, Tile};

/// Gradients of [`layer_norm`](crate::layer_norm) for x, gain and offset, each of its input's shape
/// and type.
///
/// # Shapes
///
/// - d_output: as x; the others as in [`layer_norm`](crate::layer_norm)
pub fn layer_norm_backward(
    d_output: &CubeTensor,
    x: &CubeTensor,
    gain: &CubeTensor,
    epsilon: f32,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let rows = FlatRows::of(x);
    let limits = Limits::of(x);
    let tile = Tile::of_norm(rows.width, &limits);
    let slots = Tile::norm_slots(rows.rows, &limits);
    let vectors = rows.vectors();
    let parts = empty(x, [slots * 2 * vectors * 4], DType::F32);
    let d_x = rows.empty(x);
    let [d_y, x, d_x_rows] = [d_output, x, &d_x].map(|tensor| rows.view(tensor));
    let gain = into_contiguous(gain.clone());
    launch(
        rows.shader(Kernel::LayerNormBackward, tile)
            .rows(&[&d_y, &x, &d_x_rows])
            .element(&gain),
        (slots * tile.lanes).div_ceil(tile.invocations),
        &[&d_y, &x, &gain, &d_x_rows, &parts],
        &rows
            .info()
            .epsilon(epsilon)
            .strides(&[&d_y, &x, &d_x_rows])
            .count(slots),
    );

    let [d_gain, d_offset] = [(); 2].map(|()| empty(&gain, [rows.width], gain.dtype));
    let tile = Tile::of_sums(&limits);
    launch(
        rows.shader(Kernel::SumLayerNorm, tile).element(&gain),
        2 * vectors,
        &[&parts, &d_gain, &d_offset],
        &rows.info().count(slots),
    );
    (d_x, d_gain, d_offset)
}
