//! What the queries of a tile see: runs of keys, and of each run an interval a query.

use std::ops::Range;

use transformer_ls_kernels::{LandmarksSeen, Visibility, Window};

use crate::real::Real;
use crate::tile::{TILE, TileRow};

/// Queries whose output is summed up together, see [`sums`](crate::products::sums). They read one
/// range of a run's keys.
pub(crate) const BLOCK: usize = 8;

/// What the queries of a tile see of their document. Lanes beyond the last query see what it sees:
/// they are computed and not used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight<T> {
    /// In order; none where the tile sees no key.
    pub runs: Vec<Run<T>>,
    /// Keys of all runs.
    pub width: usize,
    /// How many landmarks each query sees, if not all.
    pub landmarks: Option<TileRow<T>>,
    /// Lanes that see as many landmarks, and how many.
    pub landmarks_of: Vec<(Range<usize>, usize)>,
    /// The pattern whose only run this is, its first query's [phase](Window::phase) and how many
    /// queries there are, where no key is missing on either side: the next tile often sees the same.
    alike: Option<(Window, usize, usize)>,
}

/// A run of keys that any query of the tile sees.
#[derive(Clone, Debug)]
pub(crate) struct Run<T> {
    /// Counted from the document's first key.
    pub keys: Range<usize>,
    /// The first key's place among the keys of all runs.
    pub column: usize,
    /// The first key that each query sees and one past the last, counted from the run's first;
    /// both 0 for none.
    first: [u32; TILE],
    end: [u32; TILE],
    /// The same, for vectors.
    pub first_lanes: TileRow<T>,
    pub end_lanes: TileRow<T>,
    /// Keys that each block of queries sees; an empty range for none.
    blocks: [[u32; 2]; TILE / BLOCK],
    /// Whether intervals never fall back from query to query.
    rises: bool,
}

impl<T: Real> Sight<T> {
    /// The keys from the first run to the last, those between the runs included.
    pub fn hull(&self) -> Range<usize> {
        match (self.runs.first(), self.runs.last()) {
            (Some(first), Some(last)) => first.keys.start..last.keys.end,
            _ => 0..0,
        }
    }

    /// Takes the sight of these queries, of a document with this many keys and landmarks.
    pub fn set(
        &mut self,
        visibility: &Visibility,
        queries: Range<usize>,
        keys: usize,
        landmarks: usize,
    ) {
        self.set_runs(visibility, &queries, keys);
        self.landmarks_of.clear();
        if visibility.landmarks == LandmarksSeen::All {
            self.landmarks = None;
            self.landmarks_of.push((0..TILE, landmarks));
            return;
        }
        let mut counts = [T::ZERO; TILE];
        for (lane, to) in counts.iter_mut().enumerate() {
            let query = (queries.start + lane).min(queries.end - 1);
            let count = visibility.landmarks_of(query, landmarks);
            *to = T::from_index(count as isize);
            match self.landmarks_of.last_mut() {
                Some((lanes, alike)) if *alike == count => lanes.end += 1,
                _ => self.landmarks_of.push((lane..lane + 1, count)),
            }
        }
        self.landmarks = Some(counts);
    }

    fn set_runs(&mut self, visibility: &Visibility, queries: &Range<usize>, keys: usize) {
        let alike = visibility
            .window
            .phase(queries.start + visibility.memory)
            .and_then(|phase| {
                let run = visibility.runs(queries.clone(), keys).next()?;
                let whole = run.start > 0 && run.end < keys;
                whole.then_some(((visibility.window, phase, queries.len()), run))
            });
        let known = self.alike;
        self.alike = alike.as_ref().map(|(alike, _)| *alike);
        if let Some((alike, run)) = alike
            && known == Some(alike)
        {
            self.runs[0].keys = run;
            return;
        }
        self.runs.clear();
        self.width = 0;
        for keys_of_run in visibility.runs(queries.clone(), keys) {
            let column = self.width;
            self.width += keys_of_run.len();
            let mut run = Run::new(visibility, keys_of_run, column);
            run.set(visibility, queries, keys);
            self.runs.push(run);
        }
    }
}

impl<T: Real> Run<T> {
    #[inline(always)]
    fn new(visibility: &Visibility, keys: Range<usize>, column: usize) -> Self {
        Self {
            keys,
            column,
            first: [0; TILE],
            end: [0; TILE],
            first_lanes: [T::ZERO; TILE],
            end_lanes: [T::ZERO; TILE],
            blocks: [[0; 2]; TILE / BLOCK],
            rises: visibility.window.is_line(),
        }
    }

    fn set(&mut self, visibility: &Visibility, queries: &Range<usize>, keys: usize) {
        let run = self.keys.clone();
        let mut lane = 0;
        while lane < TILE {
            let query = (queries.start + lane).min(queries.end - 1);
            let seen = visibility.keys_of(query, &run, keys);
            // Queries of one segment see the same keys.
            let alike = match queries.start + lane < queries.end {
                true => visibility.alike_until(query).min(queries.end) - queries.start,
                false => TILE,
            };
            let lanes = lane..alike.min(TILE);
            lane = alike;
            if seen.is_empty() {
                continue;
            }
            let [first, end] = [seen.start - run.start, seen.end - run.start];
            self.first[lanes.clone()].fill(first as u32);
            self.end[lanes.clone()].fill(end as u32);
            self.first_lanes[lanes.clone()].fill(T::from_index(first as isize));
            self.end_lanes[lanes].fill(T::from_index(end as isize));
        }
        for (block, range) in self.blocks.iter_mut().enumerate() {
            let lanes = block * BLOCK..(block + 1) * BLOCK;
            let (first, end) = (&self.first[lanes.clone()], &self.end[lanes]);
            if self.rises && end[0] > 0 && end[BLOCK - 1] > 0 {
                *range = [first[0], end[BLOCK - 1]];
                continue;
            }
            *range = std::iter::zip(first, end)
                .filter(|(_, end)| **end > 0)
                .map(|(&first, &end)| [first, end])
                .reduce(|all, own| [all[0].min(own[0]), all[1].max(own[1])])
                .unwrap_or_default();
        }
    }

    /// Keys that any of these queries, which are whole blocks, sees.
    #[inline(always)]
    pub fn of_queries(&self, queries: Range<usize>) -> Range<usize> {
        let [mut first, mut end] = self.blocks[queries.start / BLOCK];
        for &[own_first, own_end] in
            &self.blocks[queries.start / BLOCK + 1..queries.end.div_ceil(BLOCK)]
        {
            if own_end > 0 {
                first = if end > 0 {
                    first.min(own_first)
                } else {
                    own_first
                };
                end = end.max(own_end);
            }
        }
        first as usize..end as usize
    }

    /// Queries that together hold all who see any of these keys. As keys rise from call to call,
    /// `from` can be the start of the last answer.
    #[inline(always)]
    pub fn of_keys(&self, keys: Range<usize>, from: usize) -> Range<usize> {
        let keys = keys.start as u32..keys.end as u32;
        let sees = |lane: &usize| self.first[*lane] < keys.end && self.end[*lane] > keys.start;
        if self.rises {
            let start = (from..TILE).find(sees).unwrap_or(TILE);
            let end = (start..TILE).find(|lane| !sees(lane)).unwrap_or(TILE);
            return start..end;
        }
        let start = (0..TILE).find(sees).unwrap_or(TILE);
        let end = (start..TILE)
            .rev()
            .find(sees)
            .map_or(start, |lane| lane + 1);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use transformer_ls_kernels::Grid;

    use super::*;

    /// Lanes, blocks and keys say the same as the visibility does query by query.
    #[test]
    fn sight_is_the_visibility_of_its_queries() {
        let mut patterns = vec![Window::Off, Window::All];
        for width in [1, 3, 8, 50] {
            patterns.extend([Window::Segments { width }, Window::Causal { width }]);
        }
        for (columns, tile, halo) in [(5, 2, 1), (40, 4, 2), (7, 7, 0)] {
            patterns.push(Window::Grid(Grid {
                columns,
                tile,
                halo,
            }));
        }
        let mut sight = Sight::<f32>::default();
        for window in patterns {
            for (queries, keys, memory) in [(1, 1, 0), (63, 63, 0), (70, 90, 20), (40, 17, 0)] {
                let visibility = Visibility {
                    memory,
                    ..window.into()
                };
                for start in (0..queries).step_by(TILE) {
                    let tile = start..(start + TILE).min(queries);
                    sight.set(&visibility, tile.clone(), keys, 0);
                    for run in &sight.runs {
                        let mut from = 0;
                        for key in 0..run.keys.len() {
                            let lanes = run.of_keys(key..key + 1, from);
                            from = lanes.start;
                            for (lane, query) in tile.clone().enumerate() {
                                let seen = visibility
                                    .keys_of(query, &run.keys, keys)
                                    .contains(&(run.keys.start + key));
                                let own = run.first[lane] as usize..run.end[lane] as usize;
                                let block = lane / BLOCK * BLOCK;
                                let block = run.of_queries(block..block + BLOCK);
                                let all = run.of_queries(0..TILE);
                                assert_eq!(own.contains(&key), seen, "{visibility:?}");
                                if seen {
                                    assert!(block.contains(&key) && all.contains(&key));
                                    assert!(lanes.contains(&lane), "{visibility:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
