// What a query sees besides its window, and what dropout leaves of it. Beside this file stands one of
// `seen_*.wgsl`, a window's pattern, with these functions (queries and keys count from their
// document's first):
//
// * `runs_of(first, last)`, `run_of(first, last, number, keys)`: how many runs of keys the queries from
//   `first` to `last` see, and one of them, from its first key to before its end;
// * `seen_of(query, run, keys)`: what a query sees of a run;
// * `query_runs_of(first, last)`, `query_run_of(first, last, number, queries)`: the transpose, runs of
//   queries that see the keys from `first` to `last`;
// * `column_of(query, key)`: the key's number among the columns of the query's window;
// * `offset_of(query, key)` and `key_of_offset(query, offset)`: the offset's number, and back;
// * `offsets_of(first, last, keys)`: between which two numbers all are of queries from `first` to `last`
//   and of keys, from one to another.

const LANDMARKS: bool = {{ landmarks }};
const CHUNKS: bool = {{ chunks }};
const WINDOW: bool = {{ window }};
// Whether the window is one of a grid, with a run a row.
const ROWS: bool = {{ rows }};
const BIAS: bool = {{ bias }};
const RELATIVE: bool = {{ relative }};
// Whether tables by offset have entries for keys, which the window's pattern says, and for landmarks.
const OFFSETS: bool = {{ offsets }};
const LANDMARK_OFFSETS: bool = {{ landmark_offsets }};
// Whether landmarks have a bias of their own.
const LANDMARK_BIAS: bool = {{ landmark_bias }};
const DROPOUT: bool = {{ dropout }};

// Where a query stands among the keys.
fn position_of(query: u32) -> u32 {
  return query + info.keys.y;
}

// The queries that stand at these positions.
fn queries_at(positions: vec2<u32>, queries: u32) -> vec2<u32> {
  let first = positions - min(positions, vec2<u32>(info.keys.y));
  return vec2<u32>(first.x, min(first.y, queries));
}

// How many of its document's landmarks a query sees.
fn landmarks_of(query: u32) -> u32 {
  if (!CHUNKS) { return info.seen.x; }
  return min(info.chunks.x + query / info.chunks.y * info.chunks.z, info.seen.x);
}

// The entry of a pair in tables by offset. A key or a landmark out of sight may be out of the table as
// well, and gets any entry.
fn entry_of_key(query: u32, key: u32) -> u32 {
  return min(offset_of(query, key), info.keys.z - 1u);
}

fn entry_of_landmark(query: u32, landmark: u32) -> u32 {
  return min(info.keys.z + landmarks_of(query) - 1u - landmark, info.chunks.w - 1u);
}

fn bias_of(head: u32, entry: u32) -> f32 {
  return bitcast<f32>(context_word(info.context.x + head * info.chunks.w + entry));
}

// First vector in the context of a relative key.
fn relative_of(head: u32, entry: u32) -> u32 {
  return info.tasks.z + (head * info.chunks.w + entry) * D4;
}

fn landmark_bias_of(document: u32, head: u32, landmark: u32) -> f32 {
  let row = (document * info.batch.x + head) * info.seen.x;
  return bitcast<f32>(context_word(info.tasks.w + row + min(landmark, info.seen.x - 1u)));
}

fn mix(value: u32) -> u32 {
  var x = value;
  x ^= x >> 16u;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13u;
  x *= 0xC2B2AE35u;
  return x ^ (x >> 16u);
}

fn take(hash: u32, coordinate: u32) -> u32 {
  return mix(hash ^ ((coordinate + 1u) * 0x9E3779B9u));
}

// The part of an entry's hash that the entries of a query share.
fn query_hash(document: u32, head: u32, query: u32) -> u32 {
  return take(take(take(mix(info.dropout.x), document), head), query);
}

// The factor of an entry: 0 where it is dropped.
fn kept(hash: u32, column: u32) -> f32 {
  return select(0.0, bitcast<f32>(info.dropout.z), take(hash, column) >= info.dropout.y);
}

fn score_scale() -> f32 {
  return bitcast<f32>(info.dropout.w);
}
