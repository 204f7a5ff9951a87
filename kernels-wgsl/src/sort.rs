//! Launcher of `sort_count.wgsl`, `sort_scan.wgsl` and `sort_scatter.wgsl`.

use burn_backend::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::{empty, launch};
use crate::layer_norm::FlatRows;
use crate::tiles::{Limits, Tile};

/// Bits of a digit, and how many digits there are.
const BITS: u32 = 5;
const DIGITS: usize = 1 << BITS;

/// Ids below `below` and the places where they stand, in the order of ids and then of places,
/// `[ids, 2]`: a radix sort of as many passes as the largest id has digits. An id that is too large
/// counts as the largest.
pub(crate) fn sort(ids: &CubeTensor, below: usize) -> CubeTensor {
    let ids = into_contiguous(ids.clone());
    let count = ids.meta.shape().num_elements();
    let limits = Limits::of(&ids);
    let tile = Tile::of_sort(&limits);
    let scan = Tile::of_slots(1, &limits);
    let blocks = count.div_ceil(tile.invocations * tile.group);
    let counts = empty(&ids, [DIGITS * blocks], DType::U32);
    let [mut from, mut to] = [(); 2].map(|()| empty(&ids, [count, 2], DType::U32));
    // Shaders of the layers have a width; this one has none.
    let one = FlatRows { rows: 1, width: 1 };
    let bits = usize::BITS - below.saturating_sub(1).leading_zeros();
    for pass in 0..bits.div_ceil(BITS).max(1) {
        let info = Info {
            batch: [1, count as u32, count as u32, 0],
            keys: [below as u32, 0, 0, 0],
            tasks: [blocks as u32, pass * BITS, 0, 0],
            ..Info::default()
        };
        let inputs = [("ids", &ids), ("pairs", &from), ("counts", &counts)];
        launch(one.shader(Kernel::SortCount, tile), blocks, info, &inputs);
        let scanned = Info::default().count(DIGITS * blocks);
        launch(
            one.shader(Kernel::SortScan, scan),
            1,
            scanned,
            &[("counts", &counts)],
        );
        launch(
            one.shader(Kernel::SortScatter, tile),
            blocks,
            info,
            &[
                ("ids", &ids),
                ("pairs", &from),
                ("counts", &counts),
                ("sorted", &to),
            ],
        );
        std::mem::swap(&mut from, &mut to);
    }
    from
}
