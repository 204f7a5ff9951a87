//! What both operations share: sizes, tiles, and how documents lie.

use burn_backend::DType;
use burn_cubecl::tensor::CubeTensor;
use transformer_ls_kernels::{Dropout, LandmarksSeen, Visibility, Window, dropout};

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
    pub relative_keys: bool,
    /// Entries a head of tables by offset, if there is one.
    pub entries: usize,
    pub landmark_bias: bool,
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
        relative_keys: false,
        entries: 0,
        landmark_bias: false,
        scale: 1.0,
        dropout: Dropout::OFF,
    };
}

/// What the context holds of each landmark.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LandmarkRow {
    /// The operation makes them.
    Nothing,
    /// Its key and value.
    KeyAndValue,
    /// Their gradients, and a vector of what goes with them.
    Gradients,
}

impl LandmarkRow {
    fn vectors(self, of_channels: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::KeyAndValue => 2 * of_channels,
            Self::Gradients => 2 * of_channels + 1,
        }
    }
}

/// Where the parts of the context begin, after the landmarks, in 32-bit words; and how many words
/// it has. Each part begins with a whole vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub landmark_bias: usize,
    pub bias: usize,
    pub relative_keys: usize,
    pub mask: usize,
    pub documents: usize,
    pub words: usize,
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
    /// Of the context.
    pub places: Places,
    /// Of packed documents.
    pub tables: Option<Tables>,
    given: &'a Documents<'a>,
}

impl<'a> Problem<'a> {
    /// `rows`: a tensor `[b, h, n, d]`, of the queries where there are any; `keys`: keys of a row;
    /// `row`: what the context will hold of each landmark.
    pub fn new(
        rows: &CubeTensor,
        keys: usize,
        landmarks: usize,
        row: LandmarkRow,
        documents: &'a Documents<'a>,
        seen: Seen,
    ) -> Self {
        let [b, heads, tokens, width] = dims(rows);
        let (layout, count, longest) = match documents {
            Documents::Full => (Layout::Full, b, tokens.max(keys)),
            Documents::Padded(_) => (Layout::Padded, b, tokens),
            Documents::Packed(boundaries) => {
                let longest = boundaries.ranges().map(|tokens| tokens.len()).max();
                (Layout::Packed, boundaries.count(), longest.unwrap_or(0))
            }
        };
        let sizes = Sizes {
            documents: count,
            heads,
            longest,
            width,
            landmarks,
            window: seen.visibility.window.keys_of_a_run(),
        };
        let mut limits = Limits::of(rows);
        limits.cooperative = limits.cooperative.filter(|_| rows.dtype == DType::F16);
        let tiles = Tiles::choose(&sizes, &limits);
        let tables = match documents {
            Documents::Packed(boundaries) => Some(Tables::new(boundaries, &tiles)),
            _ => None,
        };
        let vectors = width.div_ceil(4);
        let (table, rows) = (heads * seen.entries, count * heads * landmarks);
        let mut words = 0;
        let mut part = |length: usize| {
            words += length.next_multiple_of(4);
            words - length.next_multiple_of(4)
        };
        part(rows * 4 * row.vectors(vectors));
        let places = Places {
            landmark_bias: part(if seen.landmark_bias { rows } else { 0 }),
            bias: part(if seen.bias { table } else { 0 }),
            relative_keys: part(if seen.relative_keys {
                table * 4 * vectors
            } else {
                0
            }),
            mask: part(if layout == Layout::Padded {
                b * tokens
            } else {
                0
            }),
            documents: part(tables.as_ref().map_or(0, |tables| tables.words.len())),
            words: words.max(4),
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
            places,
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
            relative_keys: self.seen.relative_keys,
            landmark_offsets: self.seen.entries > self.seen.visibility.window.offsets(),
            landmark_bias: self.seen.landmark_bias,
            dropout: !self.seen.dropout.is_off(),
            rows: Vec::new(),
            element: Element::F32,
        }
    }

    pub fn info(&self, division: Division) -> Info {
        let Visibility {
            window,
            memory,
            landmarks,
        } = self.seen.visibility;
        let pattern = window.sizes();
        let chunks = match landmarks {
            LandmarksSeen::All => [0, 1, 0, self.seen.entries],
            LandmarksSeen::Chunks {
                before,
                chunk,
                rows,
            } => [before, chunk, rows, self.seen.entries],
        };
        let words = |of: [usize; 4]| of.map(|word| word as u32);
        let Dropout { probability, seed } = self.seen.dropout;
        let tasks_at = match (&self.tables, division) {
            (Some(tables), Division::Blocks) => self.places.documents + tables.blocks_at,
            (Some(tables), Division::Splits) => self.places.documents + tables.splits_at,
            (None, _) => 0,
        };
        let tasks_of_document = self.tokens.div_ceil(division.task(&self.tiles));
        Info {
            batch: words([self.heads, self.tokens, 0, 0]),
            seen: words([self.landmarks, pattern[0], pattern[1], pattern[2]]),
            keys: words([self.keys, memory, window.offsets(), self.vectors()]),
            chunks: words(chunks),
            context: words([
                self.places.bias,
                self.places.mask,
                self.places.documents,
                tasks_at,
            ]),
            tasks: words([
                tasks_of_document,
                0,
                self.places.relative_keys / 4,
                self.places.landmark_bias,
            ]),
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
