//! What both operations share: sizes, tiles, and how documents lie.

use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::{Dropout, LandmarksSeen, Visibility, Window, dropout};

use crate::context::Context;
use crate::documents::{Division, Documents, Tables};
use crate::info::Info;
use crate::kernel::Kernel;
use crate::launch::dims;
use crate::shader::{Element, Layout, Pattern, Shader};
use crate::tiles::{Limits, Sizes, Tile, Tiles};

/// What queries see, and how scores become weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub visibility: Visibility,
    pub bias: bool,
    pub scale: f32,
    pub dropout: Dropout,
}

impl Seen {
    /// Of operations without queries.
    pub const NOTHING: Self = Self {
        visibility: Visibility {
            window: Window::Off,
            memory: 0,
            landmarks: LandmarksSeen::All,
        },
        bias: false,
        scale: 1.0,
        dropout: Dropout::OFF,
    };
}

/// One call of an operation.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    /// Rows of the batch.
    pub rows: usize,
    pub heads: usize,
    /// Tokens of a row.
    pub tokens: usize,
    /// Keys of a row: as many, but where queries and keys differ in number.
    pub keys: usize,
    /// Channels of a head.
    pub width: usize,
    pub documents: usize,
    pub landmarks: usize,
    pub seen: Seen,
    pub layout: Layout,
    pub tiles: Tiles,
    /// Of packed documents.
    pub tables: Option<Tables>,
    given: &'a Documents<'a>,
}

impl<'a> Problem<'a> {
    /// `rows`: a tensor `[b, h, n, d]`, of the queries where there are any; `keys`: keys of a row.
    pub fn new(
        rows: &CubeTensor,
        keys: usize,
        landmarks: usize,
        documents: &'a Documents<'a>,
        seen: Seen,
    ) -> Self {
        let [b, heads, tokens, width] = dims(rows);
        let (layout, count, longest) = match documents {
            Documents::Full => (Layout::Full, b, tokens.max(keys)),
            Documents::Padded(_) => (Layout::Padded, b, tokens),
            Documents::Packed(offsets) => {
                let lengths = offsets.windows(2).map(|pair| pair[1] - pair[0]);
                let longest = lengths.max().unwrap_or(0);
                (Layout::Packed, offsets.len() - 1, longest)
            }
        };
        let sizes = Sizes {
            documents: count,
            heads,
            longest,
            width,
            landmarks,
        };
        let tiles = Tiles::choose(&sizes, &Limits::of(rows));
        let tables = match documents {
            Documents::Packed(offsets) => Some(Tables::new(offsets, &tiles)),
            _ => None,
        };
        Self {
            rows: b,
            heads,
            tokens,
            keys,
            width,
            documents: count,
            landmarks,
            seen,
            layout,
            tiles,
            tables,
            given: documents,
        }
    }

    /// The mask of padded documents.
    pub fn mask(&self) -> Option<&CubeTensor> {
        match self.given {
            Documents::Padded(mask) => Some(mask),
            _ => None,
        }
    }

    /// Vectors of four channels a row.
    pub fn vectors(&self) -> usize {
        self.width.div_ceil(4)
    }

    /// Tasks of all documents.
    pub fn tasks(&self, division: Division) -> usize {
        match &self.tables {
            Some(tables) => tables.count(division),
            None => self.documents * self.tokens.div_ceil(division.task(&self.tiles)),
        }
    }

    /// Tasks of the keys of all documents, and of those of one.
    pub fn tasks_of_keys(&self, division: Division) -> [usize; 2] {
        let of_one = self.keys.div_ceil(division.task(&self.tiles));
        match &self.tables {
            Some(tables) => [tables.count(division), of_one],
            None => [self.documents * of_one, of_one],
        }
    }

    pub fn shader(&self, kernel: Kernel, tile: Tile, division: Division) -> Shader {
        Shader {
            kernel,
            tile,
            task: division.task(&self.tiles),
            first_task_column: division.column(),
            width: self.width,
            layout: self.layout,
            landmarks: self.landmarks > 0,
            chunks: self.seen.visibility.landmarks != LandmarksSeen::All,
            pattern: Pattern::of(self.seen.visibility.window),
            bias: self.seen.bias,
            dropout: !self.seen.dropout.is_off(),
            rows: Vec::new(),
            element: Element::F32,
        }
    }

    pub fn info(&self, context: &Context, division: Division) -> Info {
        let Visibility {
            window,
            memory,
            landmarks,
        } = self.seen.visibility;
        let pattern = window.sizes();
        let chunks = match landmarks {
            LandmarksSeen::All => [0, 1, 0],
            LandmarksSeen::Chunks {
                before,
                chunk,
                rows,
            } => [before, chunk, rows],
        };
        let words = |[a, b, c]: [usize; 3]| [a as u32, b as u32, c as u32, 0];
        let Dropout { probability, seed } = self.seen.dropout;
        let tasks_at = match (&self.tables, division) {
            (Some(tables), Division::Blocks) => context.documents_at + tables.blocks_at,
            (Some(tables), Division::Splits) => context.documents_at + tables.splits_at,
            (None, _) => 0,
        };
        let tasks_of_document = self.tokens.div_ceil(division.task(&self.tiles));
        Info {
            batch: [self.heads, self.tokens, 0, 0].map(|word| word as u32),
            seen: [self.landmarks, pattern[0], pattern[1], pattern[2]].map(|word| word as u32),
            keys: words([self.keys, memory, window.offsets()]),
            chunks: words(chunks),
            context: [
                context.bias_at,
                context.mask_at,
                context.documents_at,
                tasks_at,
            ]
            .map(|word| word as u32),
            tasks: [tasks_of_document as u32, 0, 0, 0],
            dropout: [
                seed,
                dropout::threshold(probability),
                (self.seen.dropout.scale() as f32).to_bits(),
                self.seen.scale.to_bits(),
            ],
            ..Info::default()
        }
    }
}
