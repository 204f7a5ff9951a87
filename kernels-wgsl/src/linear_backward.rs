//! Launchers of `linear_backward.wgsl` and of `sum_linear.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, LinearTiles, Tile};

/// Gradients of a linear layer, `Y = X W + b`, for its weight and its bias, summed in float32 and
/// always in the same order.
///
/// # Shapes
///
/// - x: `[.., inputs]`; d_output: `[.., outputs]`
/// - result: `[inputs, outputs]` and `[outputs]`
pub fn linear_backward(x: &CubeTensor, d_output: &CubeTensor) -> (CubeTensor, CubeTensor) {
    let (x_rows, d_rows) = (FlatRows::of(x), FlatRows::of(d_output));
    let (inputs, outputs) = (x_rows.width, d_rows.width);
    let limits = Limits::of(x);
    let tiles = LinearTiles::choose([d_rows.rows, inputs, outputs], &limits);
    let vectors = (inputs + 1) * d_rows.vectors();
    let parts = empty(x, [tiles.splits * vectors * 4], DType::F32);
    let info = Info {
        keys: [inputs as u32, 0, 0, 0],
        tasks: [tiles.splits as u32, tiles.split as u32, 0, 0],
        ..d_rows.info()
    };
    launch(
        d_rows.shader(Kernel::LinearBackward, tiles.tile),
        tiles.workgroups([inputs, outputs]),
        info,
        &[
            ("x", &x_rows.view(x)),
            ("d_y", &d_rows.view(d_output)),
            ("parts", &parts),
        ],
    );

    let weight = FlatRows {
        rows: inputs,
        width: outputs,
    };
    let bias = FlatRows {
        rows: 1,
        width: outputs,
    };
    let d_weight = empty(x, [inputs, outputs], x.dtype);
    let d_bias = empty(x, [outputs], x.dtype);
    let tile = Tile::of_slots(8, &limits);
    launch(
        d_rows.shader(Kernel::SumLinear, tile),
        vectors.div_ceil(tile.lanes),
        info,
        &[
            ("parts", &parts),
            ("d_weight", &weight.view(&d_weight)),
            ("d_bias", &bias.view(&d_bias)),
        ],
    );
    (d_weight, d_bias)
}
