// Tiles of attention's backward pass with keys on the left: queries that see them pass by.

fn score_right(place: Place, head: u32, query: u32, c: u32) -> vec4<f32> {
  return query_at(query_row(place.row, head, place.start + min(query, place.length - 1u)), c);
}

fn value_right(place: Place, head: u32, query: u32, c: u32) -> vec4<f32> {
  return d_output_at(d_output_row(place.row, head, place.start + min(query, place.length - 1u)), c);
}

// Read once more: kept, it would be in the way of registers.
fn delta_of(place: Place, head: u32, query: u32) -> vec4<f32> {
  return vec4<f32>(stats[token_position(place, head, query)].y);
}

fn weigh(place: Place, head: u32, first: u32, start: u32, end: u32, given: array<vec4<f32>, 4>, invocation: u32) {
  var products = given;
  let left_key = first + invocation / LANES * 4u;
  for (var i = 0u; i < 4u; i++) {
    let right_query = start + invocation % LANES + i * LANES;
    let query = min(right_query, end - 1u);
    let log_sum_exp = stats[token_position(place, head, query)].x;
    var seen = seen_from(query, left_key, place);
    for (var k = 0u; k < 4u; k++) {
      let key = left_key + k;
      if (ROWS && in_window) { seen = seen_from(query, key, place); }
      let weight = pair_weight(place.document, head, query, key, products[i][k], log_sum_exp, seen);
      weight_of[i][k] = select(0.0, weight, right_query < end && is_real_key(k));
      if (DROPOUT) { keep(i, k, pair_kept(place, head, query, key)); }
    }
  }
}

// Relative keys are on the left as well.
const ENTRIES: u32 = LEFT;

fn relative_left(place: Place, head: u32, entry: u32, c: u32) -> vec4<f32> {
  return relative_vector(head, entry, c);
}

//# load relative_left

fn entries_of_tile(first: u32, start: u32, of_window: bool) -> vec2<u32> {
  return entries_of(start, start + RIGHT - 1u, vec2<u32>(first, first + LEFT - 1u), of_window);
}

fn load_relative(place: Place, head: u32, first: u32, start: u32, entry: u32, chunk: u32, invocation: u32) {
  load_relative_left(place, head, entry, chunk, invocation);
  load_score_right(place, head, start, chunk, invocation);
}

// What a pair of the invocation's finds among the products with the relative keys from `entry` on.
fn relative_product(first: u32, start: u32, entry: u32, i: u32, k: u32, invocation: u32) -> f32 {
  let own = invocation % LANES + i * LANES;
  let row = entry_of_pair(start + own, first + invocation / LANES * 4u + k) - entry;
  if (row >= ENTRIES) { return 0.0; }
  return product_at(row, own);
}

// Keys by offset have gradients of their own, see `attend_dtables`.
fn add_relative(given: array<vec4<f32>, 4>, head: u32, first: u32, start: u32, end: u32, chunk: u32, invocation: u32) -> array<vec4<f32>, 4> {
  return given;
}
