//! How work is cut: one pure function of the sizes and of the device's limits.

use crate::shader::Pattern;

/// What a device allows, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Storage buffers that a kernel may have.
    pub storage_buffers: usize,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: usize,
    /// Invocations of a workgroup.
    pub invocations: usize,
    /// Whether a processor plays the GPU. There a load costs as much as tens of multiplications
    /// and private arrays cost little, so that an invocation takes several times the rows.
    pub emulated: bool,
    /// Cooperative matrices, where there are some and they are asked for.
    pub cooperative: Option<Cooperative>,
}

/// Products of square float16 matrices that a subgroup computes together, their sums in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cooperative {
    /// Rows and columns of a matrix: 8 or 16.
    pub size: usize,
    /// Invocations of a subgroup.
    pub subgroup: usize,
}

impl Cooperative {
    /// Whether a tile's products can be of such matrices.
    fn fits(&self, tile: &Tile) -> bool {
        let whole = |count: usize, of: usize| count > 0 && count.is_multiple_of(of);
        whole(tile.rows(), self.size)
            && whole(4 * tile.lanes, self.size)
            && whole(tile.invocations, self.subgroup)
    }
}

impl Limits {
    /// What every WebGPU device allows, less the buffer that the runtime keeps for itself.
    pub const PORTABLE: Self = Self {
        storage_buffers: 7,
        workgroup_bytes: 16 << 10,
        invocations: 256,
        emulated: false,
        cooperative: None,
    };
}

/// Sizes of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Documents of the batch.
    pub documents: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens of the longest document.
    pub longest: usize,
    /// Channels of a head.
    pub width: usize,
    /// Landmarks of a head.
    pub landmarks: usize,
    /// Keys that a query sees of a run of its window.
    pub window: usize,
}

/// How a kernel is tiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows that an invocation owns, or of a LayerNorm's rows the vectors that it holds.
    pub group: usize,
    /// Invocations of a workgroup.
    pub invocations: usize,
    /// Landmarks that are staged in workgroup memory at a time, where rows are an invocation's.
    pub staged: usize,
    /// Invocations that share a row (LayerNorm), the rows of a group (`tile.wgsl`), or that take
    /// neighbouring vectors (sums).
    pub lanes: usize,
    /// What computes the products of a tile in workgroup memory, if not each invocation its own.
    pub cooperative: Option<Cooperative>,
}

impl Tile {
    /// An invocation for each entry.
    pub fn of_entries(limits: &Limits) -> Self {
        Self {
            group: 1,
            invocations: 64.min(limits.invocations),
            lanes: 1,
            ..Self::default()
        }
    }

    /// Tiles in workgroup memory, of so many rows that a workgroup owns.
    fn of_rows(rows: usize) -> Self {
        Self {
            group: 4,
            invocations: 2 * rows,
            lanes: 8,
            ..Self::default()
        }
    }

    /// Whether whole rows are an invocation's own, in private arrays (the shaders of `by_rows/`), and
    /// not tiles in workgroup memory.
    pub(crate) fn owns_rows(&self) -> bool {
        self.lanes == 1
    }

    /// Workgroups for so many tasks with these landmarks each.
    pub(crate) fn workgroups_of_landmarks(&self, tasks: usize, landmarks: usize) -> usize {
        match self.owns_rows() {
            true => (tasks * landmarks.div_ceil(self.group)).div_ceil(self.invocations),
            false => tasks,
        }
    }

    /// Rows that a workgroup of such a tile owns.
    pub fn rows(&self) -> usize {
        self.group * self.invocations / self.lanes
    }

    /// `class_row` and `class_row_backward`: a token for each invocation, eight vectors of its row at a
    /// time.
    pub fn of_class_rows(limits: &Limits) -> Self {
        Self {
            invocations: if limits.emulated { 16 } else { 64 },
            lanes: 8,
            ..Self::of_entries(limits)
        }
    }

    /// Rows of `width` channels that are normalised in registers.
    pub fn of_norm(width: usize, limits: &Limits) -> Self {
        let vectors = width.div_ceil(4).max(1);
        // Where a processor plays the GPU, lanes have to wait for each other one by one.
        let held = if limits.emulated { 16 } else { 4 };
        let invocations = if limits.emulated { 16 } else { 64 }.min(limits.invocations);
        let most = 1 << invocations.ilog2();
        let lanes = vectors.div_ceil(held).next_power_of_two().min(most);
        Self {
            group: vectors.div_ceil(lanes),
            invocations: most,
            lanes,
            ..Self::default()
        }
    }

    /// A workgroup that adds up one vector of many parts.
    pub fn of_sums(limits: &Limits) -> Self {
        let invocations = if limits.emulated { 16 } else { 64 }.min(limits.invocations);
        Self {
            invocations: 1 << invocations.ilog2(),
            ..Self::of_entries(limits)
        }
    }

    /// `sort_count` and `sort_scatter`: a block of a thousand tokens, whose invocations are no fewer
    /// than the digits.
    pub fn of_sort(limits: &Limits) -> Self {
        Self {
            group: if limits.emulated { 32 } else { 16 },
            invocations: if limits.emulated { 32 } else { 64 },
            ..Self::of_entries(limits)
        }
    }

    /// A workgroup that adds up `lanes` neighbouring vectors of many parts.
    pub fn of_slots(lanes: usize, limits: &Limits) -> Self {
        let invocations = if limits.emulated { 16 } else { 256 }.min(limits.invocations);
        let invocations = 1 << invocations.ilog2();
        Self {
            invocations,
            lanes: lanes.next_power_of_two().min(invocations),
            ..Self::of_entries(limits)
        }
    }

    /// How many rows are normalised side by side; each takes every so many-th row.
    pub fn norm_slots(rows: usize, limits: &Limits) -> usize {
        let wanted = if limits.emulated { 256 } else { 1 << 13 };
        rows.clamp(1, wanted)
    }
}

/// How the gradients of a linear layer's parameters are tiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearTiles {
    /// Tiles of 64 × 64 entries.
    pub tiles: usize,
    /// Rows that a workgroup takes, a multiple of those that are staged at a time.
    pub split: usize,
    /// How many splits there are.
    pub splits: usize,
    /// `linear_backward`
    pub tile: Tile,
}

impl LinearTiles {
    /// Rows that are staged at a time.
    pub(crate) const STAGED: usize = 16;

    /// Rows and columns of a tile.
    pub(crate) const SIDE: usize = 64;

    /// `linear` and `linear_dx`: a tile's entries, of which an invocation takes 4 × 8, or with nothing
    /// in workgroup memory 4 × 16 of its own.
    pub fn product(limits: &Limits) -> Tile {
        let (invocations, lanes) = if limits.emulated { (64, 1) } else { (128, 8) };
        Tile {
            group: 4,
            invocations,
            lanes,
            ..Tile::default()
        }
    }

    /// Workgroups of `linear` and `linear_dx` for so many rows and columns.
    pub(crate) fn products([rows, columns]: [usize; 2], tile: &Tile) -> usize {
        match tile.owns_rows() {
            true => (rows.div_ceil(tile.group) * columns.div_ceil(16)).div_ceil(tile.invocations),
            false => rows.div_ceil(Self::SIDE) * columns.div_ceil(Self::SIDE),
        }
    }

    /// Chooses the tiles for this many rows, inputs and outputs.
    pub fn choose([rows, inputs, outputs]: [usize; 3], limits: &Limits) -> Self {
        let tiles = inputs.div_ceil(Self::SIDE) * outputs.div_ceil(Self::SIDE);
        // A part is written and read once more, so splits are no more than what a device needs.
        let wanted = if limits.emulated { 16 } else { 512 };
        let split = rows.div_ceil((wanted / tiles).max(1)).max(64);
        // Mesa's llvmpipe ends the loops of an invocation after 65 535 rounds in all.
        let most = if limits.emulated { 1 << 12 } else { usize::MAX };
        let split = split.min(most).next_multiple_of(Self::STAGED);
        // A tile's entries, of which an invocation takes 4 × 8, or with nothing in workgroup memory 4 × 16.
        let (invocations, lanes) = if limits.emulated { (64, 1) } else { (128, 8) };
        Self {
            tiles,
            split,
            splits: rows.div_ceil(split),
            tile: Tile {
                invocations,
                lanes,
                ..Tile::of_entries(limits)
            },
        }
    }

    /// Workgroups of `linear_backward` for a layer of so many inputs and outputs.
    pub(crate) fn workgroups(&self, [inputs, outputs]: [usize; 2]) -> usize {
        match self.tile.owns_rows() {
            true => (self.splits * inputs.div_ceil(4) * outputs.div_ceil(16))
                .div_ceil(self.tile.invocations),
            false => self.splits * self.tiles,
        }
    }
}

/// How the kernels of both operations are tiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    /// Tokens of a document that a workgroup takes.
    pub block: usize,
    /// Tokens of a document over which a workgroup sums for its landmarks.
    pub split: usize,
    /// `attend`
    pub attend: Tile,
    /// `attend_dq`
    pub attend_dq: Tile,
    /// `attend_dkv`
    pub attend_dkv: Tile,
    /// `attend_dlandmarks`
    pub attend_dlandmarks: Tile,
    /// `attend_dtables`, but for windows of a grid
    pub attend_dtables: Tile,
    /// `project`
    pub project: Tile,
    /// `project_backward`
    pub project_backward: Tile,
    /// Whether `attend_dkv` writes both gradients in one launch.
    pub both_gradients: bool,
    /// Kernels with an invocation for each entry.
    pub entries: Tile,
}

/// Buffers of `attend_dkv` with both outputs: gradient of the output, queries, keys, values,
/// context, statistics, and the two.
const BOTH_GRADIENTS: usize = 8;

impl Tiles {
    /// Chooses the tiles.
    pub fn choose(sizes: &Sizes, limits: &Limits) -> Self {
        let block = sizes.longest.max(1).next_power_of_two().clamp(16, 128);
        // Mesa's llvmpipe ends the loops of an invocation after 65 535 rounds in all.
        let columns = sizes.landmarks + sizes.window.min(sizes.longest);
        let rounds = 2 * columns * sizes.width.div_ceil(4);
        // A processor has no matrices to win by; who asks for them wants to see them work.
        let by_rows = limits.emulated && limits.cooperative.is_none() && rounds < 50_000;
        let tiles = match by_rows {
            true => Self::by_rows(sizes, limits, block),
            false => Self::of_rows(sizes, limits.cooperative),
        };
        // What is wanted to be under way at the same time, and what one split has of it.
        let (wanted, a_split) = match by_rows {
            true => (512, sizes.landmarks.max(1).div_ceil(tiles.project.group)),
            false => (1 << 16, tiles.project.invocations),
        };
        let splits = wanted / (sizes.documents * sizes.heads * a_split).max(1);
        // See above: a class row's reading takes some 18 rounds a token at 256 channels.
        let longest_split = if limits.emulated { 1 << 11 } else { usize::MAX };
        Self {
            block,
            // A power of two, so that batches of other lengths find their pipelines made.
            split: (sizes.longest / splits.max(1))
                .max(128)
                .next_power_of_two()
                .min(longest_split),
            both_gradients: limits.storage_buffers >= BOTH_GRADIENTS && sizes.width <= 128,
            entries: Tile::of_entries(limits),
            ..tiles
        }
    }

    /// Tiles of the tables' gradients. Neighbours among a grid's offsets are not always neighbours among its
    /// keys.
    pub fn of_dtables(&self, pattern: Pattern) -> Tile {
        match pattern {
            Pattern::Grid => self.entries,
            _ => self.attend_dtables,
        }
    }

    /// Tiles in workgroup memory.
    fn of_rows(sizes: &Sizes, cooperative: Option<Cooperative>) -> Self {
        let of_rows = |rows: usize| {
            // Rows of nothing fill a matrix up.
            let rows = cooperative.map_or(rows, |matrices| {
                let whole = rows.next_multiple_of(matrices.size);
                // A row has two invocations.
                whole.max((matrices.subgroup / 2).min(32))
            });
            let tile = Tile::of_rows(rows);
            Tile {
                cooperative: cooperative.filter(|matrices| matrices.fits(&tile)),
                ..tile
            }
        };
        // Of a small window, fewer queries have fewer keys that others see and they do not.
        let queries = of_rows(if sizes.window > 32 { 32 } else { 16 });
        let landmarks = of_rows(sizes.landmarks.next_multiple_of(8).clamp(8, 32));
        Self {
            attend: queries,
            attend_dq: queries,
            attend_dkv: queries,
            attend_dlandmarks: landmarks,
            attend_dtables: of_rows(32),
            project: landmarks,
            project_backward: of_rows(32),
            ..Self::default()
        }
    }

    /// Rows in private arrays, as a processor has them in its caches: there it is barriers that cost,
    /// and tiles in workgroup memory take four times as long.
    fn by_rows(sizes: &Sizes, limits: &Limits, block: usize) -> Self {
        let vectors = sizes.width.div_ceil(4).max(1);
        let group = |arrays: usize| {
            let fits = (192 / (arrays * vectors)).max(1);
            (1 << fits.ilog2()).min(8)
        };
        let by_block = |arrays: usize, row_vectors: usize| {
            // A workgroup takes a whole block.
            let group = group(arrays).max(block / limits.invocations);
            // Half of what a workgroup may have leaves room for a second one beside it.
            let fits = limits.workgroup_bytes.min(16 << 10) / (16 * row_vectors);
            let wanted = sizes.landmarks.next_multiple_of(4);
            Tile {
                group,
                invocations: (block / group).clamp(1, limits.invocations),
                staged: (fits / 4 * 4).min(wanted).max(4),
                lanes: 1,
                ..Tile::default()
            }
        };
        let by_landmark = |arrays: usize| Tile {
            group: group(arrays).min(sizes.landmarks.max(1).next_power_of_two()),
            ..Tile::of_entries(limits)
        };
        Self {
            attend: by_block(2, 2 * vectors),
            attend_dq: by_block(3, 2 * vectors),
            attend_dkv: by_block(4, 2 * vectors),
            attend_dlandmarks: by_landmark(4),
            attend_dtables: Tile::of_entries(limits),
            project: by_landmark(2),
            project_backward: by_block(4, 2 * vectors + 1),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Sizes = Sizes {
        documents: 32,
        heads: 2,
        longest: 4096,
        width: 32,
        landmarks: 32,
        window: 16,
    };

    /// Every tile of every device and size keeps within the device's limits.
    #[test]
    fn tiles_keep_within_limits() {
        let roomy = Limits {
            storage_buffers: 16,
            workgroup_bytes: 64 << 10,
            invocations: 1024,
            emulated: false,
            cooperative: None,
        };
        let software = Limits {
            emulated: true,
            ..roomy
        };
        for limits in [Limits::PORTABLE, roomy, software] {
            for width in [1, 4, 7, 32, 33, 64, 128, 256] {
                for landmarks in [0, 1, 5, 32, 254, 512] {
                    for longest in [0, 1, 17, 128, 4096, 1 << 20] {
                        let sizes = Sizes {
                            width,
                            landmarks,
                            longest,
                            ..TEXT
                        };
                        check(&sizes, &limits);
                    }
                }
            }
        }
    }

    fn check(sizes: &Sizes, limits: &Limits) {
        let tiles = Tiles::choose(sizes, limits);
        let vectors = sizes.width.div_ceil(4);
        for (tile, row) in [
            (tiles.attend, 2 * vectors),
            (tiles.attend_dq, 2 * vectors),
            (tiles.attend_dkv, 2 * vectors),
            (tiles.attend_dlandmarks, 0),
            (tiles.attend_dtables, 0),
            (tiles.project, 0),
            (tiles.project_backward, 2 * vectors + 1),
            (tiles.entries, 0),
        ] {
            assert!((1..=limits.invocations).contains(&tile.invocations));
            let held = match tile.owns_rows() {
                true if row > 0 => {
                    assert_eq!(tile.group * tile.invocations, tiles.block, "{sizes:?}");
                    assert!(tile.staged.is_multiple_of(4) && tile.staged >= 4);
                    tile.staged * row
                }
                true => 0,
                false => {
                    let rows = tile.rows();
                    assert!((4..=32).contains(&rows) && rows.is_multiple_of(4));
                    // Rows on both sides with a vector more each, the weights, a place.
                    (rows + 32) * 9 + 32 * (rows / 4 + 1) + 2
                }
            };
            assert!(held * 16 <= limits.workgroup_bytes, "{sizes:?}");
        }
        assert!(tiles.split.is_multiple_of(4) && tiles.split >= 4);
        assert!(!tiles.both_gradients || limits.storage_buffers >= 8);
    }

    /// A row's vectors are all held, by lanes of one workgroup, in few registers each.
    #[test]
    fn rows_of_every_width_are_held() {
        let software = Limits {
            emulated: true,
            ..Limits::PORTABLE
        };
        for limits in [Limits::PORTABLE, software] {
            for width in [1, 3, 64, 65, 128, 512, 768, 1000, 4096] {
                let tile = Tile::of_norm(width, &limits);
                assert!(tile.group * tile.lanes >= width.div_ceil(4), "{width}");
                assert!(tile.lanes.is_power_of_two());
                assert!(tile.invocations.is_multiple_of(tile.lanes));
                assert!(tile.group <= 64 && tile.invocations <= limits.invocations);
            }
        }
        assert_eq!(Tile::of_norm(512, &Limits::PORTABLE).lanes, 32);
    }

    /// The splits of a linear layer have all rows, and a Text batch gives every workgroup some.
    #[test]
    fn splits_of_a_linear_layer_have_all_rows() {
        for rows in [1, 63, 64, 65, 4097, 1 << 17] {
            for (inputs, outputs) in [(1, 1), (64, 128), (2048, 512)] {
                let tiles = LinearTiles::choose([rows, inputs, outputs], &Limits::PORTABLE);
                assert!(tiles.split.is_multiple_of(LinearTiles::STAGED));
                assert!((rows..rows + tiles.split).contains(&(tiles.split * tiles.splits)));
            }
        }
        let text = LinearTiles::choose([1 << 17, 64, 64], &Limits::PORTABLE);
        assert_eq!((text.tiles, text.split, text.splits), (1, 256, 512));
    }

    #[test]
    fn small_windows_take_few_queries() {
        let rows = |window| {
            let sizes = Sizes { window, ..TEXT };
            Tiles::choose(&sizes, &Limits::PORTABLE).attend.rows()
        };
        assert_eq!([0, 16, 128, usize::MAX].map(rows), [16, 16, 32, 32]);
    }

    /// 2^16 invocations are wanted, 64 for 32 landmarks; a part is never shorter than 128 tokens.
    #[test]
    fn few_documents_are_split_for_the_landmarks() {
        let split = |documents| {
            let sizes = Sizes { documents, ..TEXT };
            Tiles::choose(&sizes, &Limits::PORTABLE).split
        };
        assert_eq!([1, 32, 512, 4096].map(split), [128, 256, 4096, 4096]);
    }
}
