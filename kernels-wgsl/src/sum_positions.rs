//! Launcher of `sum_positions.wgsl`.

use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::Boundaries;

use crate::embed::starts;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, Tile};

/// Gradient of [`embed`](crate::embed) for its table of positions: each row's is the sum over the
/// documents, in their order, 0 where none is as long.
///
/// # Shapes
///
/// - d_output: `[b, n, D]`
/// - result: `[positions, D]`
pub fn sum_positions(
    d_output: &CubeTensor,
    packed: Option<&Boundaries>,
    positions: usize,
) -> CubeTensor {
    let [b, n, width] = dims(d_output);
    let rows = FlatRows::of(d_output);
    let tile = Tile::of_entries(&Limits::of(d_output));
    let (documents, starts) = starts(d_output, [b, n], packed);
    let d_table = empty(d_output, [positions, width], d_output.dtype);
    let count = positions * rows.vectors();
    let table = FlatRows {
        rows: positions,
        width,
    };
    launch(
        rows.shader(Kernel::SumPositions, tile),
        count.div_ceil(tile.invocations),
        rows.info().count(count).tasks(documents),
        &[
            ("d_output", &rows.view(d_output)),
            ("starts", &starts),
            ("d_table", &table.view(&d_table)),
        ],
    );
    d_table
}
