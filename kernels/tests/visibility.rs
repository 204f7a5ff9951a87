//! Every pattern against its definition, pair by pair: who sees whom is written down here once
//! more, for one query and one key, and everything that the crate says of ranges follows from it.

use transformer_ls_kernels::{Grid, LandmarksSeen, Visibility, Window};

/// Whether the query at a position sees a key, straight from the definition.
fn sees(window: Window, position: usize, key: usize) -> bool {
    let (p, j) = (position as i64, key as i64);
    match window {
        Window::Off => false,
        Window::All => true,
        Window::Segments { width } => {
            let (w, e) = (width as i64, (width as i64 / 2).max(1));
            p / w * w - e <= j && j < (p / w + 1) * w + e
        }
        Window::Causal { width } => p - j < width as i64 && j <= p,
        Window::Grid(Grid {
            columns,
            tile,
            halo,
        }) => {
            let (c, t, h) = (columns as i64, tile as i64, halo as i64);
            let along = |p: i64, j: i64| p / t * t - h <= j && j < (p / t + 1) * t + h;
            along(p / c, j / c) && along(p % c, j % c)
        }
    }
}

/// The offset of a pair that see each other, along each dimension.
fn distance(window: Window, position: usize, key: usize) -> [i64; 2] {
    let (p, j) = (position as i64, key as i64);
    match window {
        Window::Grid(grid) => {
            let c = grid.columns as i64;
            [p / c - j / c, p % c - j % c]
        }
        _ => [0, p - j],
    }
}

fn patterns() -> Vec<Window> {
    let mut patterns = vec![Window::Off, Window::All];
    for width in [1, 2, 3, 8, 17] {
        patterns.extend([Window::Segments { width }, Window::Causal { width }]);
    }
    for (columns, tile, halo) in [
        (1, 1, 0),
        (5, 2, 1),
        (7, 3, 0),
        (8, 4, 2),
        (6, 1, 3),
        (4, 9, 1),
    ] {
        patterns.push(Window::Grid(Grid {
            columns,
            tile,
            halo,
        }));
    }
    patterns
}

/// Queries, keys and memory.
const LENGTHS: [[usize; 3]; 6] = [
    [1, 1, 0],
    [29, 29, 0],
    [20, 33, 13],
    [30, 12, 0],
    [12, 30, 0],
    [7, 40, 2],
];

fn all(call: impl Fn(Visibility, usize, usize)) {
    for window in patterns() {
        for [queries, keys, memory] in LENGTHS {
            let visibility = Visibility {
                memory,
                ..window.into()
            };
            visibility.assert_valid();
            call(visibility, queries, keys);
        }
    }
}

#[test]
fn runs_hold_what_blocks_of_queries_see() {
    all(|visibility, queries, keys| {
        for start in 0..queries {
            for end in start..=queries {
                let runs: Vec<_> = visibility.runs(start..end, keys).collect();
                for pair in runs.windows(2) {
                    assert!(pair[0].end <= pair[1].start, "{visibility:?}: {runs:?}");
                }
                for query in start..end {
                    for key in 0..keys {
                        let seen = sees(visibility.window, query + visibility.memory, key);
                        let found = runs
                            .iter()
                            .filter(|run| visibility.keys_of(query, run, keys).contains(&key));
                        assert_eq!(
                            found.count(),
                            usize::from(seen),
                            "{visibility:?}, queries {start}..{end}: {query} and {key}"
                        );
                    }
                }
                let last = runs.last().map_or(0, |run| run.end);
                assert_eq!(visibility.end_of(start..end, keys), last);
                assert!(last <= keys);
            }
        }
    });
}

#[test]
fn queries_are_found_by_key() {
    all(|visibility, queries, keys| {
        for start in 0..keys {
            for end in start..=keys {
                let runs: Vec<_> = visibility.queries_of(start..end, queries).collect();
                for pair in runs.windows(2) {
                    assert!(pair[0].end <= pair[1].start, "{visibility:?}: {runs:?}");
                }
                assert!(runs.last().is_none_or(|run| run.end <= queries));
                for query in 0..queries {
                    let position = query + visibility.memory;
                    let seen = (start..end).any(|key| sees(visibility.window, position, key));
                    let found = runs.iter().any(|run| run.contains(&query));
                    assert!(
                        found || !seen,
                        "{visibility:?}, keys {start}..{end}: {query} is missing"
                    );
                }
            }
        }
    });
}

#[test]
fn neighbours_that_see_alike_are_alike() {
    all(|visibility, queries, keys| {
        for query in 0..queries {
            let until = visibility.alike_until(query);
            assert!(until > query);
            for other in query..until.min(queries) {
                for key in 0..keys {
                    let [one, another] = [query, other]
                        .map(|query| sees(visibility.window, query + visibility.memory, key));
                    assert_eq!(one, another, "{visibility:?}: {query}, {other}, {key}");
                }
            }
        }
    });
}

/// Runs of one query or one key are exact: loops over them end where sight ends.
#[test]
fn runs_of_one_hold_nothing_else() {
    all(|visibility, queries, keys| {
        for query in 0..queries {
            for run in visibility.runs(query..query + 1, keys) {
                assert_eq!(visibility.keys_of(query, &run, keys), run, "{visibility:?}");
            }
        }
        for key in 0..keys {
            for run in visibility.queries_of(key..key + 1, queries) {
                for query in run {
                    let position = query + visibility.memory;
                    assert!(
                        sees(visibility.window, position, key),
                        "{visibility:?}: {query} and {key}"
                    );
                }
            }
        }
    });
}

#[test]
fn columns_and_offsets_are_distinct_and_in_range() {
    all(|visibility, queries, keys| {
        let window = visibility.window;
        let mut distances = vec![None; window.offsets()];
        for query in 0..queries {
            let position = query + visibility.memory;
            let mut columns = Vec::new();
            for key in (0..keys).filter(|&key| sees(window, position, key)) {
                let column = visibility.column(query, key) as usize;
                assert!(
                    !columns.contains(&column),
                    "{visibility:?}: column {column}"
                );
                assert!(window == Window::All || column < window.span());
                columns.push(column);
                if window == Window::All {
                    continue;
                }
                let distance = distance(window, position, key);
                let reach = window.reach() as i64;
                assert!(distance.iter().all(|x| x.abs() <= reach), "{visibility:?}");
                // One offset, one distance.
                let known = &mut distances[visibility.offset(query, key)];
                assert_eq!(*known.get_or_insert(distance), distance, "{visibility:?}");
            }
            assert!(columns.is_sorted());
        }
        let mut all: Vec<_> = distances.iter().flatten().collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), distances.iter().flatten().count());
    });
}

#[test]
fn offsets_of_windows_in_one_dimension() {
    let segments = Window::Segments { width: 8 };
    assert_eq!((segments.halo(), segments.reach()), (4, 11));
    assert_eq!((segments.offsets(), segments.span()), (23, 16));
    assert_eq!(segments.offset(10, 10), 11);
    assert_eq!(segments.offset(15, 4), 22);
    let causal = Window::Causal { width: 8 };
    assert_eq!((causal.offsets(), causal.span()), (8, 8));
    assert_eq!((causal.offset(10, 10), causal.offset(10, 3)), (0, 7));
    assert_eq!(causal.column(10, 10), 7);
    let grid = Window::Grid(Grid {
        columns: 10,
        tile: 3,
        halo: 1,
    });
    assert_eq!((grid.reach(), grid.offsets(), grid.span()), (3, 49, 25));
    // One row up and two columns to the left.
    assert_eq!(grid.offset(44, 32), (1 + 3) * 7 + 2 + 3);
}

#[test]
fn landmarks_of_finished_chunks() {
    let visibility = Visibility {
        landmarks: LandmarksSeen::Chunks {
            before: 6,
            chunk: 4,
            rows: 2,
        },
        ..Window::Off.into()
    };
    let seen: Vec<usize> = (0..13).map(|i| visibility.landmarks_of(i, 11)).collect();
    assert_eq!(seen, [6, 6, 6, 6, 8, 8, 8, 8, 10, 10, 10, 10, 11]);
    assert_eq!(Visibility::from(Window::Off).landmarks_of(3, 11), 11);
}
