//! What both operations share: sizes, tiles, and how documents lie.

use burn_cubecl::tensor::CubeTensor;

use crate::Dropout;
use crate::context::Context;
use crate::documents::{Division, Documents, Tables};
use crate::info::Info;
use crate::launch::dims;
use crate::shader::{Element, Kernel, Layout, Rows, Shader};
use crate::tiles::{Limits, Sizes, Tile, Tiles};

/// What the kernels see besides landmarks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Width of the window's segments; 0 = off.
    pub width: usize,
    pub bias: bool,
    pub scale: f32,
    pub dropout: Option<Dropout>,
}

impl Seen {
    /// Of operations without queries.
    pub const NOTHING: Self = Self {
        width: 0,
        bias: false,
        scale: 1.0,
        dropout: None,
    };

    /// Tokens that a segment sees on either side.
    fn halo(&self) -> usize {
        (self.width / 2).max(1)
    }

    /// How far a window key can lie from its query.
    pub fn reach(&self) -> usize {
        match self.width {
            0 => 0,
            width => width - 1 + self.halo(),
        }
    }
}

/// One call of an operation.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    /// Rows of the batch.
    pub rows: usize,
    pub heads: usize,
    /// Tokens of a row.
    pub tokens: usize,
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
    /// `rows`: a tensor `[b, h, n, d]`.
    pub fn new(
        rows: &CubeTensor,
        landmarks: usize,
        documents: &'a Documents<'a>,
        seen: Seen,
    ) -> Self {
        let [b, heads, tokens, width] = dims(rows);
        let (layout, count, longest) = match documents {
            Documents::Full => (Layout::Full, b, tokens),
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

    pub fn shader(&self, kernel: Kernel, tile: Tile, division: Division) -> Shader {
        Shader {
            kernel,
            tile,
            task: division.task(&self.tiles),
            first_task_column: division.column(),
            width: self.width,
            layout: self.layout,
            landmarks: self.landmarks > 0,
            window: self.seen.width > 0,
            bias: self.seen.bias,
            dropout: self.seen.dropout.is_some(),
            rows: Vec::new(),
            element: Element::F32,
        }
    }

    pub fn info(&self, context: &Context, division: Division) -> Info {
        let dropout = self.seen.dropout.unwrap_or(Dropout {
            seed: 0,
            threshold: 0,
            factor: 1.0,
        });
        let tasks_at = match (&self.tables, division) {
            (Some(tables), Division::Blocks) => context.documents_at + tables.blocks_at,
            (Some(tables), Division::Splits) => context.documents_at + tables.splits_at,
            (None, _) => 0,
        };
        let tasks_of_document = self.tokens.div_ceil(division.task(&self.tiles));
        Info {
            batch: [self.heads, self.tokens, 0, 0].map(|word| word as u32),
            seen: [
                self.landmarks,
                self.seen.width,
                self.seen.halo(),
                self.seen.reach(),
            ]
            .map(|word| word as u32),
            context: [
                context.bias_at,
                context.mask_at,
                context.documents_at,
                tasks_at,
            ]
            .map(|word| word as u32),
            tasks: [tasks_of_document as u32, 0, 0, 0],
            dropout: [
                dropout.seed,
                dropout.threshold,
                dropout.factor.to_bits(),
                self.seen.scale.to_bits(),
            ],
            ..Info::default()
        }
    }
}

impl Shader {
    /// Takes the tensors with rows, in the kernel's order.
    pub(crate) fn rows(mut self, tensors: &[&CubeTensor]) -> Self {
        debug_assert_eq!(tensors.len(), self.kernel.row_tensors());
        self.rows = tensors.iter().map(|tensor| Rows::of(tensor)).collect();
        self
    }

    /// Takes the element type of the tensor without rows.
    pub(crate) fn element(mut self, tensor: &CubeTensor) -> Self {
        self.element = Element::of(tensor);
        self
    }
}
