// What a query sees, and what dropout leaves of it.

const LANDMARKS: bool = {{ landmarks }};
const WINDOW: bool = {{ window }};
const BIAS: bool = {{ bias }};
const DROPOUT: bool = {{ dropout }};

// First token of the segment that a token lies in.
fn segment_of(token: u32) -> u32 {
  return token / info.seen.y * info.seen.y;
}

// The keys that the queries of a segment see: from the first, before the end.
fn window_first(segment: u32) -> u32 {
  return segment - min(segment, info.seen.z);
}

fn window_end(segment: u32, length: u32) -> u32 {
  return min(segment + info.seen.y + info.seen.z, length);
}

fn bias_of(head: u32, query: u32, key: u32) -> f32 {
  let reach = info.seen.w;
  let column = query + reach - key;
  return bitcast<f32>(context_word(info.context.x + head * (2u * reach + 1u) + column));
}

// Number of a window key among the columns that a query sees.
fn window_column(segment: u32, key: u32) -> u32 {
  return info.seen.x + key + info.seen.z - segment;
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
