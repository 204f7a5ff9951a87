// A query sees itself and the `info.seen.y − 1` keys before it.
fn runs_of(first: u32, last: u32) -> u32 {
  return 1u;
}

fn run_of(first: u32, last: u32, number: u32, keys: u32) -> vec2<u32> {
  let end = position_of(first) + 1u;
  return vec2<u32>(end - min(end, info.seen.y), min(position_of(last) + 1u, keys));
}

fn seen_of(query: u32, run: vec2<u32>, keys: u32) -> vec2<u32> {
  return run_of(query, query, 0u, keys);
}

fn query_runs_of(first: u32, last: u32) -> u32 {
  return 1u;
}

fn query_run_of(first: u32, last: u32, number: u32, queries: u32) -> vec2<u32> {
  return queries_at(vec2<u32>(first, last + info.seen.y), queries);
}

fn column_of(query: u32, key: u32) -> u32 {
  return key + info.seen.y - 1u - position_of(query);
}

fn offset_of(query: u32, key: u32) -> u32 {
  return position_of(query) - key;
}

fn offsets_of(first: u32, last: u32, keys: vec2<u32>) -> vec2<i32> {
  return vec2<i32>(i32(offset_of(first, keys.y)), i32(offset_of(last, keys.x)));
}

fn key_of_offset(query: u32, offset: u32) -> u32 {
  return position_of(query) - offset;
}
