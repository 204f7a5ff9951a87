//! The shaders that a device launches.

use transformer_ls_kernels_wgsl::kernel::{Gradients, Kernel};
use transformer_ls_kernels_wgsl::shader::{Element, Layout, Pattern, RowFormat, Shader};
use transformer_ls_kernels_wgsl::tiles::{Limits, LinearTiles, Sizes, Tile, Tiles};

const KERNELS: [Kernel; 48] = [
    Kernel::PackLandmarks,
    Kernel::PackBias,
    Kernel::PackRelativeKeys,
    Kernel::PackWords,
    Kernel::Attend,
    Kernel::AttendDelta,
    Kernel::AttendDq,
    Kernel::AttendDkv(Gradients::Both),
    Kernel::AttendDkv(Gradients::Keys),
    Kernel::AttendDkv(Gradients::Values),
    Kernel::AttendDlandmarks,
    Kernel::SumParts,
    Kernel::SumLandmarkBias,
    Kernel::AttendDtables,
    Kernel::SumBias,
    Kernel::SumRelativeKeys,
    Kernel::Project,
    Kernel::ProjectMerge,
    Kernel::ProjectDelta,
    Kernel::ProjectBackward { adds: false },
    Kernel::ProjectBackward { adds: true },
    Kernel::ClassRow,
    Kernel::ClassRowMerge,
    Kernel::ClassRowBackward,
    Kernel::ClassRowSum,
    Kernel::LayerNorm,
    Kernel::LayerNormBackward { adds: false },
    Kernel::LayerNormBackward { adds: true },
    Kernel::SumLayerNorm,
    Kernel::Gelu,
    Kernel::GeluBackward,
    Kernel::Embed,
    Kernel::SortCount,
    Kernel::SortScan,
    Kernel::SortScatter,
    Kernel::SumRuns,
    Kernel::MergeRuns,
    Kernel::SumPositions,
    linear(false, false),
    linear(false, true),
    linear(true, false),
    linear(true, true),
    Kernel::LinearDx { adds: false },
    Kernel::LinearDx { adds: true },
    Kernel::LinearBackward,
    Kernel::SumLinear,
    Kernel::AdamW { parameters: 1 },
    Kernel::AdamW { parameters: 8 },
];

const fn linear(adds: bool, bias: bool) -> Kernel {
    Kernel::Linear { adds, bias }
}

/// The tile that a launcher gives the kernel.
fn tile_of(kernel: Kernel, pattern: Pattern, tiles: &Tiles, width: usize, limits: &Limits) -> Tile {
    match kernel {
        Kernel::Attend => tiles.attend,
        Kernel::AttendDq => tiles.attend_dq,
        Kernel::AttendDkv(_) => tiles.attend_dkv,
        Kernel::AttendDlandmarks => tiles.attend_dlandmarks,
        Kernel::AttendDtables => tiles.of_dtables(pattern),
        Kernel::Project => tiles.project,
        Kernel::ProjectBackward { .. } => tiles.project_backward,
        Kernel::ClassRow | Kernel::ClassRowBackward => Tile::of_class_rows(limits),
        Kernel::LayerNorm | Kernel::LayerNormBackward { .. } => Tile::of_norm(width, limits),
        Kernel::SumLayerNorm => Tile::of_sums(limits),
        Kernel::SortCount | Kernel::SortScatter => Tile::of_sort(limits),
        Kernel::SortScan => Tile::of_slots(1, limits),
        Kernel::Linear { .. } | Kernel::LinearDx { .. } => LinearTiles::product(limits),
        Kernel::LinearBackward => LinearTiles::choose([9, width, width], limits).tile,
        Kernel::SumLinear => Tile::of_slots(8, limits),
        Kernel::MergeRuns => Tile::of_slots(width.div_ceil(4), limits),
        _ => tiles.entries,
    }
}

/// What a graphics card allows.
pub const ROOMY: Limits = Limits {
    storage_buffers: 64,
    workgroup_bytes: 48 << 10,
    invocations: 1024,
    emulated: false,
    cooperative: None,
};

/// Calls with each kernel that a device with these limits would launch for these sizes, where queries see
/// keys by this pattern.
pub fn for_kernels(
    limits: &Limits,
    [width, landmarks, window]: [usize; 3],
    pattern: Pattern,
    mut call: impl FnMut(Shader),
) {
    let sizes = Sizes {
        documents: 3,
        heads: 2,
        longest: 300,
        width,
        landmarks,
        window,
    };
    let tiles = Tiles::choose(&sizes, limits);
    for kernel in KERNELS {
        let both = kernel == Kernel::AttendDkv(Gradients::Both);
        let one = matches!(kernel, Kernel::AttendDkv(_)) && !both;
        // How many parameters a launch updates goes by the buffers that there may be.
        let adamw = matches!(kernel, Kernel::AdamW { .. });
        let many = adamw && kernel.storage_buffers() > limits.storage_buffers;
        if many || (both && !tiles.both_gradients) || (one && tiles.both_gradients) {
            continue;
        }
        let rows = RowFormat {
            element: Element::F32,
            vectors: width.is_multiple_of(4),
            channels: width,
        };
        call(Shader {
            kernel,
            tile: tile_of(kernel, pattern, &tiles, width, limits),
            task: tiles.block,
            first_task_column: 2,
            width,
            layout: Layout::Full,
            landmarks: landmarks > 0,
            chunks: false,
            pattern,
            bias: false,
            relative_keys: false,
            landmark_offsets: false,
            landmark_bias: false,
            dropout: false,
            rows: vec![rows; kernel.row_tensors()],
            element: Element::F32,
        });
    }
}
