// Segments of `info.seen.y` tokens, whose queries see `info.seen.z` more on either side.
fn segment_of(query: u32) -> u32 {
  return position_of(query) / info.seen.y * info.seen.y;
}

fn runs_of(first: u32, last: u32) -> u32 {
  return 1u;
}

fn run_of(first: u32, last: u32, number: u32, keys: u32) -> vec2<u32> {
  let segment = segment_of(first);
  return vec2<u32>(
    segment - min(segment, info.seen.z),
    min(segment_of(last) + info.seen.y + info.seen.z, keys),
  );
}

fn seen_of(query: u32, run: vec2<u32>, keys: u32) -> vec2<u32> {
  return run_of(query, query, 0u, keys);
}

fn query_runs_of(first: u32, last: u32) -> u32 {
  return 1u;
}

fn query_run_of(first: u32, last: u32, number: u32, queries: u32) -> vec2<u32> {
  let width = info.seen.y;
  let halo = info.seen.z;
  let positions = vec2<u32>(
    (first - min(first, halo)) / width * width,
    ((last + halo) / width + 1u) * width,
  );
  return queries_at(positions, queries);
}

fn column_of(query: u32, key: u32) -> u32 {
  return key + info.seen.z - segment_of(query);
}

fn offset_of(query: u32, key: u32) -> u32 {
  return position_of(query) + info.seen.w - key;
}

fn offsets_of(first: u32, last: u32, keys: vec2<u32>) -> vec2<i32> {
  return vec2<i32>(i32(offset_of(first, keys.y)), i32(offset_of(last, keys.x)));
}

fn key_of_offset(query: u32, offset: u32) -> u32 {
  return position_of(query) + info.seen.w - offset;
}
