//! Launchers of `sum_runs.wgsl` and of `merge_runs.wgsl`.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::layer_norm::FlatRows;
use crate::shader::Shader;
use crate::sort::sort;
use crate::tiles::{Limits, Tile};

/// Tokens that an invocation adds up.
const CHUNK: usize = 64;

/// Gradient of an embedding for its table: each row's is the sum over the tokens that have its id,
/// in float32 and always in the same order, 0 where there is none.
///
/// # Shapes
///
/// - d_output: `[b, n, D]`; ids: `[b, n]`
/// - result: `[rows, D]`
pub fn embedding_backward(d_output: &CubeTensor, ids: &CubeTensor, rows: usize) -> CubeTensor {
    let tokens = FlatRows::of(d_output);
    let limits = Limits::of(d_output);
    let vectors = tokens.vectors();
    let sorted = sort(ids, rows);
    let chunks = tokens.rows.div_ceil(CHUNK);
    let parts = empty(d_output, [chunks * 2 * vectors * 4], DType::F32);
    let table = FlatRows {
        rows,
        width: tokens.width,
    };
    let d_table = empty(d_output, [rows, table.width], d_output.dtype);
    let d_table_rows = table.view(&d_table);
    let shader = |kernel, tile| Shader {
        task: CHUNK,
        ..tokens.shader(kernel, tile)
    };
    let tile = Tile::of_entries(&limits);
    launch(
        shader(Kernel::SumRuns, tile),
        (chunks * vectors).div_ceil(tile.invocations),
        tokens.info().count(chunks * vectors),
        &[
            ("d_output", &tokens.view(d_output)),
            ("sorted", &sorted),
            ("parts", &parts),
            ("d_table", &d_table_rows),
        ],
    );
    launch(
        shader(Kernel::MergeRuns, Tile::of_slots(vectors, &limits)),
        rows,
        Info {
            keys: [rows as u32, 0, 0, 0],
            ..tokens.info()
        },
        &[
            ("sorted", &sorted),
            ("parts", &parts),
            ("d_table", &d_table_rows),
        ],
    );
    d_table
}
