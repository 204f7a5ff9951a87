//! Launchers of `layer_norm_backward.wgsl` and of `sum_layer_norm.wgsl`.

use burn_backend::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, Tile};

/// Gradients of [`layer_norm`](crate::layer_norm) for x, gamma and beta, each of its input's shape
/// and type; that for x is added to `added`.
///
/// # Shapes
///
/// - d_output, added: as x; the others as in [`layer_norm`](crate::layer_norm)
pub fn layer_norm_backward(
    d_output: &CubeTensor,
    x: &CubeTensor,
    gamma: &CubeTensor,
    epsilon: f32,
    added: Option<&CubeTensor>,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let rows = FlatRows::of(x);
    let limits = Limits::of(x);
    let tile = Tile::of_norm(rows.width, &limits);
    let slots = Tile::norm_slots(rows.rows, &limits);
    let vectors = rows.vectors();
    let parts = empty(x, [slots * 2 * vectors * 4], DType::F32);
    let d_x = rows.empty(x);
    let [d_y, x, d_x_rows] = [d_output, x, &d_x].map(|tensor| rows.view(tensor));
    let gamma = into_contiguous(gamma.clone());
    let added = added.map(|added| rows.view(added));
    let mut tensors = vec![
        ("d_y", &d_y),
        ("x", &x),
        ("gamma", &gamma),
        ("d_x", &d_x_rows),
        ("parts", &parts),
    ];
    tensors.extend(added.iter().map(|added| ("added", added)));
    let adds = added.is_some();
    launch(
        rows.shader(Kernel::LayerNormBackward { adds }, tile),
        (slots * tile.lanes).div_ceil(tile.invocations),
        rows.info().epsilon(epsilon).count(slots),
        &tensors,
    );

    let [d_gamma, d_beta] = [(); 2].map(|()| empty(&gamma, [rows.width], gamma.dtype));
    let tile = Tile::of_sums(&limits);
    launch(
        rows.shader(Kernel::SumLayerNorm, tile),
        2 * vectors,
        rows.info().count(slots),
        &[
            ("parts", &parts),
            ("d_gamma", &d_gamma),
            ("d_beta", &d_beta),
        ],
    );
    (d_x, d_gamma, d_beta)
}
