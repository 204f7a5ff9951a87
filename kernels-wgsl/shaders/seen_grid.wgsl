// Rows of `info.seen.y` keys of a grid, cut into tiles of `info.seen.z` by as many; a query sees its
// tile and `info.seen.w` rows and columns around it. A run of keys lies in one row.

// Row and column of a position.
fn cell_of(position: u32) -> vec2<u32> {
  return vec2<u32>(position / info.seen.y, position % info.seen.y);
}

// Along one dimension, what a query sees, and what queries see a key.
fn around(x: u32) -> vec2<u32> {
  let first = x / info.seen.z * info.seen.z;
  return vec2<u32>(first - min(first, info.seen.w), first + info.seen.z + info.seen.w);
}

fn seeing(x: u32) -> vec2<u32> {
  let first = (x - min(x, info.seen.w)) / info.seen.z * info.seen.z;
  return vec2<u32>(first, ((x + info.seen.w) / info.seen.z + 1u) * info.seen.z);
}

fn runs_of(first: u32, last: u32) -> u32 {
  return around(cell_of(position_of(last)).x).y - around(cell_of(position_of(first)).x).x;
}

fn run_of(first: u32, last: u32, number: u32, keys: u32) -> vec2<u32> {
  let top = cell_of(position_of(first));
  let bottom = cell_of(position_of(last));
  var columns = vec2<u32>(0u, info.seen.y);
  if (top.x == bottom.x) {
    columns = vec2<u32>(around(top.y).x, min(around(bottom.y).y, info.seen.y));
  }
  let run = (around(top.x).x + number) * info.seen.y + columns;
  return vec2<u32>(run.x, min(run.y, keys));
}

fn seen_of(query: u32, run: vec2<u32>, keys: u32) -> vec2<u32> {
  let cell = cell_of(position_of(query));
  let row = run.x / info.seen.y;
  let rows = around(cell.x);
  if (row < rows.x || row >= rows.y) { return vec2<u32>(0u); }
  let columns = min(around(cell.y), vec2<u32>(info.seen.y));
  let seen = row * info.seen.y + columns;
  return vec2<u32>(seen.x, min(seen.y, keys));
}

fn query_runs_of(first: u32, last: u32) -> u32 {
  return seeing(cell_of(last).x).y - seeing(cell_of(first).x).x;
}

fn query_run_of(first: u32, last: u32, number: u32, queries: u32) -> vec2<u32> {
  let top = cell_of(first);
  let bottom = cell_of(last);
  var columns = vec2<u32>(0u, info.seen.y);
  if (top.x == bottom.x) {
    columns = vec2<u32>(seeing(top.y).x, min(seeing(bottom.y).y, info.seen.y));
  }
  return queries_at((seeing(top.x).x + number) * info.seen.y + columns, queries);
}

fn column_of(query: u32, key: u32) -> u32 {
  let corner = cell_of(position_of(query)) / info.seen.z * info.seen.z;
  let cell = cell_of(key) + info.seen.w - corner;
  return cell.x * (info.seen.z + 2u * info.seen.w) + cell.y;
}

fn reach() -> u32 {
  return info.seen.z - 1u + info.seen.w;
}

fn offset_of(query: u32, key: u32) -> u32 {
  let offset = cell_of(position_of(query)) + reach() - cell_of(key);
  return offset.x * (2u * reach() + 1u) + offset.y;
}

fn offsets_of(first: u32, last: u32, keys: vec2<u32>) -> vec2<i32> {
  let side = 2u * reach() + 1u;
  let top = cell_of(position_of(first)).x + reach() - cell_of(keys.y).x;
  let bottom = cell_of(position_of(last)).x + reach() - cell_of(keys.x).x;
  return vec2<i32>(i32(top * side), i32(bottom * side + side - 1u));
}

fn key_of_offset(query: u32, offset: u32) -> u32 {
  let side = 2u * reach() + 1u;
  let cell = cell_of(position_of(query)) + reach() - vec2<u32>(offset / side, offset % side);
  // A cell outside the grid wraps around or lies beyond its columns.
  if (cell.y >= info.seen.y || cell.x > info.keys.x) { return info.keys.x; }
  return cell.x * info.seen.y + cell.y;
}
