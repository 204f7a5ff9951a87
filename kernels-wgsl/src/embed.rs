//! Launcher of `embed.wgsl`, and where the documents of a batch begin.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::Boundaries;

use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::{dims, empty, launch, upload};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, Tile};

/// Embeddings of tokens and of their positions, added. Positions count from the start of a row, or
/// of a document in a packed batch.
///
/// # Shapes
///
/// - token: `[vocabulary, D]`; position: `[positions, D]`; ids: `[b, n]`
/// - result: `[b, n, D]`
pub fn embed(
    token: &CubeTensor,
    position: &CubeTensor,
    ids: &CubeTensor,
    packed: Option<&Boundaries>,
) -> CubeTensor {
    let [b, n] = dims(ids);
    let [vocabulary, width] = dims(token);
    let [positions, _] = dims(position);
    let rows = FlatRows { rows: b * n, width };
    let tile = Tile::of_entries(&Limits::of(token));
    let (documents, starts) = starts(token, [b, n], packed);
    let y = empty(token, [b, n, width], token.dtype);
    let count = rows.rows * rows.vectors();
    launch(
        rows.shader(Kernel::Embed, tile),
        count.div_ceil(tile.invocations),
        Info {
            keys: [vocabulary as u32, positions as u32, 0, 0],
            ..rows.info().count(count).tasks(documents)
        },
        &[
            ("token", &FlatRows::of(token).view(token)),
            ("position", &FlatRows::of(position).view(position)),
            ("ids", &into_contiguous(ids.clone())),
            ("starts", &starts),
            ("y", &rows.view(&y)),
        ],
    );
    y
}

/// How many documents a batch `[b, n]` has, and on the device of `like` the first token of each and
/// where the last ends.
pub(crate) fn starts(
    like: &CubeTensor,
    [b, n]: [usize; 2],
    packed: Option<&Boundaries>,
) -> (usize, CubeTensor) {
    let starts: Vec<u32> = match packed {
        None => (0..=b).map(|row| (row * n) as u32).collect(),
        Some(boundaries) => boundaries.offsets().iter().map(|&at| at as u32).collect(),
    };
    (starts.len() - 1, upload(like, &starts))
}
