//! Groups of queries that see about the same keys, as dense tensors: what a [`Visibility`] looks
//! like to tensor operations.

use burn::backend::Backend;
use burn::backend::tensor::IntTensor;
use burn::backend::{TensorMetadata, get_or_init_device_settings};
use burn::tensor::{IndexingUpdateOp, TensorData};
use transformer_ls_kernels::{Grid, Visibility, Window};

use super::wide::Wide;

/// The queries of a sequence in groups of one size, each with as many keys.
#[derive(Clone)]
pub(super) struct Groups {
    pub visibility: Visibility,
    pub queries: usize,
    pub keys: usize,
    /// How many groups there are.
    pub count: usize,
    /// Queries of a group, those that fill it up included.
    pub size: usize,
    /// Keys of a group, those beyond the sequence included.
    pub span: usize,
    arrangement: Arrangement,
}

/// Which queries and keys are a group's.
#[derive(Clone)]
enum Arrangement {
    /// The positions `g·size..(g+1)·size`, and their keys with `before` and `after` more on either
    /// side. Both are at most `size`.
    Line { before: usize, after: usize },
    /// Group by group, the queries and the keys; for those that fill it up, how many there are.
    Table {
        queries: Vec<usize>,
        keys: Vec<usize>,
    },
}

impl Groups {
    /// None where the window is off.
    pub fn new(visibility: Visibility, queries: usize, keys: usize) -> Option<Self> {
        let positions = visibility.memory + queries;
        let line = |size: usize, before, after| Self {
            visibility,
            queries,
            keys,
            count: positions.max(keys).div_ceil(size),
            size,
            span: before + size + after,
            arrangement: Arrangement::Line { before, after },
        };
        Some(match visibility.window {
            Window::Off => return None,
            Window::All => line(positions.max(keys), 0, 0),
            Window::Segments { width } => {
                let halo = visibility.window.halo();
                line(width, halo, halo)
            }
            Window::Causal { width } => line(width, width - 1, 0),
            Window::Grid(grid) => Self::tiles(visibility, grid, queries, keys),
        })
    }

    fn tiles(visibility: Visibility, grid: Grid, queries: usize, keys: usize) -> Self {
        let (memory, columns) = (visibility.memory, grid.columns);
        let rows = (memory + queries).div_ceil(columns);
        let (down, across) = (rows.div_ceil(grid.tile), columns.div_ceil(grid.tile));
        // The places of a square of the grid, `end` for those outside the sequence `first..end`.
        let square = |top: isize, left: isize, side: usize, first: usize, end: usize| {
            (0..side * side).map(move |i| {
                let y = usize::try_from(top + (i / side) as isize).ok();
                let x = usize::try_from(left + (i % side) as isize).ok();
                match (y, x.filter(|&x| x < columns)) {
                    (Some(y), Some(x)) if (first..end).contains(&(y * columns + x)) => {
                        y * columns + x - first
                    }
                    _ => end - first,
                }
            })
        };
        let (mut own_queries, mut own_keys) = (Vec::new(), Vec::new());
        for tile in 0..down * across {
            let corner = [tile / across, tile % across].map(|x| (x * grid.tile) as isize);
            let [top, left] = corner;
            own_queries.extend(square(top, left, grid.tile, memory, memory + queries));
            let [top, left] = corner.map(|x| x - grid.halo as isize);
            own_keys.extend(square(top, left, grid.span(), 0, keys));
        }
        Self {
            visibility,
            queries,
            keys,
            count: down * across,
            size: grid.tile * grid.tile,
            span: visibility.window.span(),
            arrangement: Arrangement::Table {
                queries: own_queries,
                keys: own_keys,
            },
        }
    }

    /// `[b, h, n, d]` of queries → `[b, h, groups, size, d]`, filled up with zeros.
    pub fn split<B: Backend>(&self, x: Wide<B>) -> Wide<B> {
        let [b, h, n, d] = x.dims();
        let shape = [b, h, self.count, self.size, d];
        match &self.arrangement {
            Arrangement::Line { .. } => {
                let before = self.visibility.memory;
                let after = self.count * self.size - before - n;
                x.pad(2, before, after).reshape(shape)
            }
            Arrangement::Table { queries, .. } => pick(x, queries).reshape(shape),
        }
    }

    /// Undoes [`split`](Self::split).
    pub fn merge<B: Backend>(&self, x: Wide<B>) -> Wide<B> {
        let [b, h, _, _, d] = x.dims();
        let x = x.reshape([b, h, self.count * self.size, d]);
        match &self.arrangement {
            Arrangement::Line { .. } => x.narrow(2, self.visibility.memory, self.queries),
            Arrangement::Table { queries, .. } => {
                let mut places = vec![0; self.queries];
                for (place, &query) in queries.iter().enumerate() {
                    if let Some(to) = places.get_mut(query) {
                        *to = place;
                    }
                }
                pick(x, &places)
            }
        }
    }

    /// `[b, h, m, d]` of keys → `[b, h, groups, span, d]`: the rows that each group may see, zeros
    /// outside the sequence.
    pub fn windows<B: Backend>(&self, x: Wide<B>) -> Wide<B> {
        let [b, h, m, d] = x.dims();
        match &self.arrangement {
            &Arrangement::Line { before, after } => {
                let (size, padded) = (self.size, self.count * self.size);
                let x = x.pad(2, before, padded + size - m);
                let shifted = |start: usize, rows: usize| {
                    x.clone()
                        .narrow(2, start, padded)
                        .reshape([b, h, self.count, size, d])
                        .narrow(3, 0, rows)
                };
                let parts = [(0, before), (before, size), (before + size, after)];
                let parts = parts.into_iter().filter(|&(_, rows)| rows > 0);
                Wide::cat(parts.map(|(start, rows)| shifted(start, rows)).collect(), 3)
            }
            Arrangement::Table { keys, .. } => {
                pick(x, keys).reshape([b, h, self.count, self.span, d])
            }
        }
    }

    /// The adjoint of [`windows`](Self::windows): rows that several groups share are summed, in the
    /// groups' order.
    pub fn fold<B: Backend>(&self, x: Wide<B>) -> Wide<B> {
        let [b, h, _, _, d] = x.dims();
        match &self.arrangement {
            &Arrangement::Line { before, after } => {
                let (size, padded) = (self.size, self.count * self.size);
                let placed = |start: usize, rows: usize, at: usize| {
                    x.clone()
                        .narrow(3, start, rows)
                        .pad(3, 0, size - rows)
                        .reshape([b, h, padded, d])
                        .pad(2, at, before + size - at)
                };
                let parts = [(0, before), (before, size), (before + size, after)];
                parts
                    .into_iter()
                    .filter(|&(_, rows)| rows > 0)
                    .map(|(at, rows)| placed(at, rows, at))
                    .reduce(Wide::add)
                    .expect("a group has keys")
                    .narrow(2, before, self.keys)
            }
            Arrangement::Table { keys, .. } => {
                let mut places = vec![Vec::new(); self.keys + 1];
                for (place, &key) in keys.iter().enumerate() {
                    places[key].push(place);
                }
                places.pop();
                let x = x.reshape([b, h, keys.len(), d]);
                let most = places.iter().map(Vec::len).max().unwrap_or(0).max(1);
                (0..most)
                    .map(|round| {
                        let own = places.iter().map(|own| own.get(round).copied());
                        let own: Vec<_> = own.map(|own| own.unwrap_or(keys.len())).collect();
                        pick(x.clone(), &own)
                    })
                    .reduce(Wide::add)
                    .expect("at least one round")
            }
        }
    }

    /// A query row of a group and one of its keys as positions of a window that has the offsets of
    /// this one: what is alike for all groups.
    fn relative(&self, row: usize, column: usize) -> (Window, [usize; 2]) {
        match (&self.arrangement, self.visibility.window) {
            // A position far enough from the start for every key in front of it.
            (Arrangement::Line { before, .. }, window) => {
                (window, [self.size + row, self.size + column - before])
            }
            // A grid that is one group's keys wide.
            (_, Window::Grid(grid)) => {
                let columns = grid.span();
                let [y, x] = [row / grid.tile, row % grid.tile].map(|x| x + grid.halo);
                let window = Window::Grid(Grid { columns, ..grid });
                (window, [y * columns + x, column])
            }
            _ => unreachable!("only grids are arranged by a table"),
        }
    }

    /// For each query row of a group and each of its keys, whether it sees it: `[size, span]`, if
    /// not all do.
    pub fn seen(&self) -> Option<Vec<f32>> {
        let Window::Causal { width } = self.visibility.window else {
            return None;
        };
        let seen = |row: usize, column: usize| {
            let (_, [query, key]) = self.relative(row, column);
            key <= query && query < key + width
        };
        Some(self.table(|row, column| f32::from(seen(row, column))))
    }

    /// Column of an [`OffsetBias`](crate::ops::OffsetBias) table for each query row of a group and
    /// each of its keys, `[size, span]`; any where the key is not seen.
    fn offset_columns(&self) -> Vec<i32> {
        let last = self.visibility.window.offsets().saturating_sub(1);
        self.table(|row, column| {
            let (window, [query, key]) = self.relative(row, column);
            window.offset(query, key).min(last) as i32
        })
    }

    /// A table's entries for the pairs of a group's queries and keys: `[h, offsets, …]` →
    /// `[h, size·span, …]`.
    pub fn spread<B: Backend>(&self, table: Wide<B>) -> Wide<B> {
        let columns = indices(self.offset_columns(), &table);
        Wide::widen(B::float_select(table.into_inner(), 1, columns))
    }

    /// What is given for each query by offset, `[b, h, groups, size, offsets]`, by key:
    /// `[b, h, groups, size, span]`. A key that is not seen gets any entry.
    pub fn by_key<B: Backend>(&self, x: Wide<B>) -> Wide<B> {
        let [.., offsets] = x.dims::<5>();
        let offset_columns = self.offset_columns().into_iter().enumerate();
        let places: Vec<_> = offset_columns
            .map(|(pair, offset)| pair / self.span * offsets + offset as usize)
            .collect();
        self.rearrange(x, &places, self.span)
    }

    /// Undoes [`by_key`](Self::by_key). Keys that are not seen are left out. An offset at which a group has
    /// no key gets 0.
    pub fn by_offset<B: Backend>(&self, x: Wide<B>, offsets: usize) -> Wide<B> {
        let pairs = self.size * self.span;
        let mut places = vec![pairs; self.size * offsets];
        let seen = self.seen();
        for (pair, offset) in self.offset_columns().into_iter().enumerate() {
            if seen.as_ref().is_none_or(|seen| seen[pair] > 0.0) {
                places[pair / self.span * offsets + offset as usize] = pair;
            }
        }
        self.rearrange(x, &places, offsets)
    }

    /// A group's numbers, `[b, h, groups, size, …]`, by their place among them; zeros for a place behind
    /// the last.
    fn rearrange<B: Backend>(&self, x: Wide<B>, places: &[usize], columns: usize) -> Wide<B> {
        let [b, h, count, size, own] = x.dims();
        let x = x.reshape([b, h * count, size * own, 1]);
        pick(x, places).reshape([b, h, count, size, columns])
    }

    /// The adjoint of [`spread`](Self::spread), for as many numbers as `[h, size·span, …]` has.
    pub fn collect<B: Backend>(&self, spread: Wide<B>, table: &Wide<B>) -> Wide<B> {
        let mut shape = table.clone().into_inner().shape();
        let zeros = table.zeros_like_with(shape.clone());
        shape[1] = self.size * self.span;
        Wide::widen(B::float_select_assign(
            zeros.into_inner(),
            1,
            indices(self.offset_columns(), table),
            spread.reshape(shape).into_inner(),
            IndexingUpdateOp::Add,
        ))
    }

    /// For each group's query rows the query, or anything for those that fill it up; and for each
    /// of its keys the column by which dropout knows it.
    pub fn entry(&self, slot: usize, column: usize) -> [u32; 2] {
        match &self.arrangement {
            Arrangement::Line { before, .. } => {
                let memory = self.visibility.memory;
                let group = slot / self.size;
                let key = (group * self.size + column).wrapping_sub(*before);
                let column = self.visibility.window.column(slot, key);
                [slot.wrapping_sub(memory) as u32, column]
            }
            Arrangement::Table { queries, .. } => [queries[slot] as u32, column as u32],
        }
    }

    fn table<T>(&self, mut entry: impl FnMut(usize, usize) -> T) -> Vec<T> {
        let pairs = (0..self.size).flat_map(|row| (0..self.span).map(move |c| (row, c)));
        pairs.map(|(row, column)| entry(row, column)).collect()
    }
}

/// Rows of `[b, h, n, d]` by number, a row of zeros for `n`.
fn pick<B: Backend>(x: Wide<B>, rows: &[usize]) -> Wide<B> {
    let numbers = rows.iter().map(|&row| row as i32).collect();
    let x = x.pad(2, 0, 1);
    let numbers = indices(numbers, &x);
    Wide::widen(B::float_select(x.into_inner(), 2, numbers))
}

/// Whole numbers on the device of `like`.
fn indices<B: Backend>(numbers: Vec<i32>, like: &Wide<B>) -> IntTensor<B> {
    let device = like.clone().into_inner().device();
    let length = numbers.len();
    let int_dtype = get_or_init_device_settings::<B>(&device).int_dtype;
    let data = TensorData::new(numbers, [length]).convert_dtype(int_dtype.into());
    B::int_from_data(data, &device)
}
