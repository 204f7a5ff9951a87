//! Patterns of windows, by position: which keys a query sees, and what its offset to a key is.

use std::ops::Range;

/// Which keys of the sequence a query sees, besides the landmarks.
///
/// A query and a key stand at *positions* of one sequence, which count from its first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// None: the landmarks alone.
    Off,
    /// All keys.
    All,
    /// The query at position `p` lies in segment `s = ⌊p/w⌋` and sees the keys `j` with
    /// `s·w − e ≤ j < (s+1)·w + e`, `e = max(⌊w/2⌋, 1)` (Zhu et al. 2021, section 3.1).
    Segments {
        /// Segment length `w ≥ 1`, in tokens.
        width: usize,
    },
    /// The query at position `p` sees the keys `p − w + 1 ≤ j ≤ p`: itself and the `w − 1` before
    /// it.
    Causal {
        /// `w ≥ 1`, in tokens.
        width: usize,
    },
    /// The rows of a two-dimensional grid, one after another.
    Grid(Grid),
}

/// A window in two dimensions: the grid is cut into square tiles, and a query sees the keys of its
/// tile and of a halo around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Positions of a row of the grid, at least 1.
    pub columns: usize,
    /// Side of a tile, at least 1.
    pub tile: usize,
    /// Rows and columns around the tile that its queries see too.
    pub halo: usize,
}

impl Window {
    /// Segments of this width, or no window where the width is 0.
    pub fn segments(width: usize) -> Self {
        match width {
            0 => Self::Off,
            width => Self::Segments { width },
        }
    }

    /// Tokens that a segment sees on either side: `max(⌊w/2⌋, 1)`; 0 for other patterns.
    pub fn halo(&self) -> usize {
        match self {
            Self::Segments { width } => (width / 2).max(1),
            _ => 0,
        }
    }

    /// How far a key that a query sees can lie from it at most, along each dimension; 0 where there
    /// is no such bound.
    pub fn reach(&self) -> usize {
        match self {
            Self::Off | Self::All => 0,
            Self::Segments { width } => width - 1 + self.halo(),
            Self::Causal { width } => width - 1,
            Self::Grid(grid) => grid.reach(),
        }
    }

    /// Whether the pattern is one of a line: from query to query, what they see and their offsets to
    /// a key never fall back.
    pub fn is_line(&self) -> bool {
        !matches!(self, Self::Grid(_))
    }

    /// How far a key that a query sees can lie from it in the sequence, if that is near: what a
    /// part of a document sees of its neighbours.
    pub fn border(&self) -> Option<usize> {
        match self {
            Self::Off | Self::Segments { .. } | Self::Causal { .. } => Some(self.reach()),
            Self::All | Self::Grid(_) => None,
        }
    }

    /// How many keys a query sees of a run at most; `usize::MAX` where there is no bound.
    pub fn keys_of_a_run(&self) -> usize {
        match self {
            Self::Off => 0,
            Self::All => usize::MAX,
            Self::Segments { width } => width + 2 * self.halo(),
            Self::Causal { width } => *width,
            Self::Grid(grid) => grid.tile + 2 * grid.halo,
        }
    }

    /// The sizes of the pattern, as shaders know them.
    pub fn sizes(&self) -> [usize; 3] {
        match self {
            Self::Off | Self::All => [0; 3],
            Self::Segments { width } => [*width, self.halo(), self.reach()],
            Self::Causal { width } => [*width, 0, 0],
            Self::Grid(grid) => [grid.columns, grid.tile, grid.halo],
        }
    }

    /// How many offsets there can be between a query and a key that it sees, which is how many
    /// entries a table by offset has a head; 0 where they have no bound.
    pub fn offsets(&self) -> usize {
        match self {
            Self::Off | Self::All => 0,
            Self::Segments { .. } => 2 * self.reach() + 1,
            Self::Causal { width } => *width,
            Self::Grid(grid) => grid.side() * grid.side(),
        }
    }

    /// A query's part of [`offset`](Self::offset).
    fn offset_of_query(&self, position: usize) -> usize {
        match self {
            Self::Off | Self::All | Self::Causal { .. } => position,
            Self::Segments { .. } => position + self.reach(),
            Self::Grid(grid) => {
                let [y, x] = grid.place(position);
                (y + grid.reach()) * grid.side() + x + grid.reach()
            }
        }
    }

    /// A key's part of [`offset`](Self::offset).
    fn offset_of_key(&self, key: usize) -> usize {
        match self {
            Self::Grid(grid) => {
                let [y, x] = grid.place(key);
                y * grid.side() + x
            }
            _ => key,
        }
    }

    /// The number of the offset `query − key` among all; wraps, where the key is out of sight.
    ///
    /// It counts from `−reach` for segments and from 0 for causal windows. In a grid it is
    /// `(Δy + reach)·(2·reach + 1) + Δx + reach`.
    #[inline]
    pub fn offset(&self, position: usize, key: usize) -> usize {
        let of_key = self.offset_of_key(key);
        self.offset_of_query(position).wrapping_sub(of_key)
    }

    /// How many columns a query's window has, those beyond the sequence included; 0 if there is no
    /// bound.
    pub fn span(&self) -> usize {
        match self {
            Self::Off | Self::All => 0,
            Self::Segments { width } => width + 2 * self.halo(),
            Self::Causal { width } => *width,
            Self::Grid(grid) => grid.span() * grid.span(),
        }
    }

    /// The number of a key among the columns of a query's window, by which dropout knows it; wraps,
    /// where the key is out of sight. In a run of keys it rises by one from key to key.
    pub fn column(&self, position: usize, key: usize) -> u32 {
        let first = match self {
            Self::Off | Self::All => 0,
            Self::Segments { width } => (position / width * width).wrapping_sub(self.halo()),
            Self::Causal { width } => (position + 1).wrapping_sub(*width),
            Self::Grid(grid) => {
                let ([y, x], [top, left]) = (grid.place(key), grid.corner(position));
                let (y, x) = (y.wrapping_sub(top), x.wrapping_sub(left));
                return y.wrapping_mul(grid.span()).wrapping_add(x) as u32;
            }
        };
        key.wrapping_sub(first) as u32
    }

    /// The keys of a run that a query sees, of `keys` in all.
    pub(crate) fn within(&self, position: usize, run: &Range<usize>, keys: usize) -> Range<usize> {
        let seen = match self {
            Self::Off => 0..0,
            Self::All => 0..keys,
            Self::Segments { width } => {
                let (first, halo) = (position / width * width, self.halo());
                first.saturating_sub(halo)..(first + width + halo).min(keys)
            }
            Self::Causal { width } => {
                (position + 1).saturating_sub(*width)..(position + 1).min(keys)
            }
            Self::Grid(grid) => grid.within(position, run.start / grid.columns, keys),
        };
        let start = seen.start.max(run.start);
        start..seen.end.min(run.end).max(start)
    }

    /// Of patterns that repeat along the line: where in its period a position lies. What positions at
    /// one place see lies alike around them, but for keys beyond the sequence.
    pub fn phase(&self, position: usize) -> Option<usize> {
        match self {
            Self::Segments { width } => Some(position % width),
            Self::Causal { .. } => Some(0),
            Self::Off | Self::All | Self::Grid(_) => None,
        }
    }

    /// Up to which position the queries from this one on see the same keys.
    pub(crate) fn alike_until(&self, position: usize) -> usize {
        match self {
            Self::Off | Self::All => usize::MAX,
            Self::Segments { width } => (position / width + 1) * width,
            Self::Causal { .. } => position + 1,
            Self::Grid(grid) => {
                let x = position % grid.columns;
                let end = (x / grid.tile + 1) * grid.tile;
                position - x + end.min(grid.columns)
            }
        }
    }

    /// Runs of keys that together hold all that the queries at these positions see, in order.
    pub(crate) fn runs(
        &self,
        positions: Range<usize>,
        keys: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let window = *self;
        let rows = match self {
            _ if positions.is_empty() => 0..0,
            Self::Off => 0..0,
            Self::Grid(grid) => grid.rows_of(&positions),
            _ => 0..1,
        };
        rows.filter_map(move |row| {
            let (first, last) = (positions.start, positions.end - 1);
            let run = match window {
                Self::Grid(grid) => grid.run(&positions, row),
                _ => {
                    let all = 0..keys;
                    window.within(first, &all, keys).start..window.within(last, &all, keys).end
                }
            };
            let run = run.start..run.end.min(keys);
            (!run.is_empty()).then_some(run)
        })
    }

    /// Runs of positions that together hold all whose queries see any of these keys, in order.
    pub(crate) fn positions_of(
        &self,
        keys: Range<usize>,
        positions: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let window = *self;
        let rows = match self {
            _ if keys.is_empty() => 0..0,
            Self::Off => 0..0,
            Self::Grid(grid) => grid.rows_that_see(&keys),
            _ => 0..1,
        };
        rows.filter_map(move |row| {
            let (first, last) = (keys.start, keys.end - 1);
            let run = match window {
                Self::Off => 0..0,
                Self::All => 0..positions,
                Self::Segments { width } => {
                    let halo = window.halo();
                    first.saturating_sub(halo) / width * width..((last + halo) / width + 1) * width
                }
                Self::Causal { width } => first..last + width,
                Self::Grid(grid) => grid.run_that_sees(&keys, row),
            };
            let run = run.start..run.end.min(positions);
            (!run.is_empty()).then_some(run)
        })
    }
}

impl Grid {
    /// See [`Window::reach`].
    pub fn reach(&self) -> usize {
        self.tile - 1 + self.halo
    }

    /// Offsets along one dimension.
    fn side(&self) -> usize {
        2 * self.reach() + 1
    }

    /// Columns of a query's window along one dimension.
    pub fn span(&self) -> usize {
        self.tile + 2 * self.halo
    }

    /// Row and column of a position.
    fn place(&self, position: usize) -> [usize; 2] {
        [position / self.columns, position % self.columns]
    }

    /// Row and column where a query's window begins; wraps, where that is outside the grid.
    fn corner(&self, position: usize) -> [usize; 2] {
        let first = |x: usize| (x / self.tile * self.tile).wrapping_sub(self.halo);
        self.place(position).map(first)
    }

    /// Along one dimension, what a query at `x` sees.
    fn around(&self, x: usize) -> Range<usize> {
        let first = x / self.tile * self.tile;
        first.saturating_sub(self.halo)..first + self.tile + self.halo
    }

    /// Along one dimension, whose windows hold the key at `x`.
    fn seeing(&self, x: usize) -> Range<usize> {
        let first = x.saturating_sub(self.halo) / self.tile * self.tile;
        first..((x + self.halo) / self.tile + 1) * self.tile
    }

    /// What a query sees of one row of the grid.
    fn within(&self, position: usize, row: usize, keys: usize) -> Range<usize> {
        let [y, x] = self.place(position);
        if !self.around(y).contains(&row) {
            return 0..0;
        }
        let columns = self.around(x);
        let at = row * self.columns;
        at + columns.start..(at + columns.end.min(self.columns)).min(keys)
    }

    /// Rows of the grid that the queries at these positions see.
    fn rows_of(&self, positions: &Range<usize>) -> Range<usize> {
        let ([first, _], [last, _]) = (self.place(positions.start), self.place(positions.end - 1));
        self.around(first).start..self.around(last).end
    }

    /// What they see of a row.
    fn run(&self, positions: &Range<usize>, row: usize) -> Range<usize> {
        self.part(positions, row, |x| self.around(x))
    }

    /// Rows of the grid whose queries see any of these keys.
    fn rows_that_see(&self, keys: &Range<usize>) -> Range<usize> {
        let ([first, _], [last, _]) = (self.place(keys.start), self.place(keys.end - 1));
        self.seeing(first).start..self.seeing(last).end
    }

    /// Positions of a row whose queries see any of these keys.
    fn run_that_sees(&self, keys: &Range<usize>, row: usize) -> Range<usize> {
        self.part(keys, row, |x| self.seeing(x))
    }

    /// The part of a row that belongs to these places: a few columns if they lie in one row, else
    /// the whole of it.
    fn part(
        &self,
        places: &Range<usize>,
        row: usize,
        columns_of: impl Fn(usize) -> Range<usize>,
    ) -> Range<usize> {
        let ([top, left], [bottom, right]) = (self.place(places.start), self.place(places.end - 1));
        let columns = match top == bottom {
            true => columns_of(left).start..columns_of(right).end.min(self.columns),
            false => 0..self.columns,
        };
        row * self.columns + columns.start..row * self.columns + columns.end
    }
}
