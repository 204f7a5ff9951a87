// Scores of a tile, with queries on one side and keys on the other. What the rows are, the kernel
// says: `score_left` and `score_right`.

// What the tile at hand is of: window keys, or landmarks.
var<private> in_window: bool;

// Whether tables by offset have entries for what a tile is of.
fn has_entries(of_window: bool) -> bool {
  return (OFFSETS && of_window) || (LANDMARK_OFFSETS && !of_window);
}

// The entry of a pair of the tile at hand.

fn entry_of_pair(query: u32, key: u32) -> u32 {
  if (LANDMARK_OFFSETS && !in_window) { return entry_of_landmark(query, key); }
  return entry_of_key(query, key);
}

// Between which entries, from the first to before the end, all are of queries from `first` to `last`
// and of what they see among these keys or landmarks, from one to another.
fn entries_of(first: u32, last: u32, keys: vec2<u32>, of_window: bool) -> vec2<u32> {
  var all = vec2<u32>(0u, info.keys.z);
  var offsets: vec2<i32>;
  if (of_window) {
    offsets = offsets_of(first, last, keys);
  } else {
    all = vec2<u32>(info.keys.z, info.chunks.w);
    offsets = vec2<i32>(i32(landmarks_of(first) - 1u - keys.y), i32(landmarks_of(last) - 1u - keys.x));
  }
  offsets = clamp(offsets + vec2<i32>(0, 1), vec2<i32>(0), vec2<i32>(i32(all.y - all.x)));
  return all.x + vec2<u32>(offsets);
}

// A vector of a relative key.
fn relative_vector(head: u32, entry: u32, c: u32) -> vec4<f32> {
  return context_vector(relative_of(head, min(entry, info.chunks.w - 1u)) + c);
}

//# load score_left score_right

// Products of the left rows from `first` on with the right ones from `start` on: of each of an
// invocation's right rows a vector of those with its left ones.
fn score_products(place: Place, head: u32, first: u32, start: u32, of_window: bool, invocation: u32) -> array<vec4<f32>, 4> {
  var products = array<vec4<f32>, 4>();
//# each chunk
  workgroupBarrier();
  load_score_left(place, head, first, {{ chunk }}u, invocation);
  load_score_right(place, head, start, {{ chunk }}u, invocation);
  workgroupBarrier();
  products = multiply(products, invocation);
//# end
  if (RELATIVE && has_entries(of_window)) {
    products = add_relative_products(products, place, head, first, start, of_window, invocation);
  }
  return products;
}

// Adds the products of the tile's queries with relative keys. Those of a tile of these are one product
// of tiles, of which each pair finds its own in workgroup memory.
fn add_relative_products(
  given: array<vec4<f32>, 4>, place: Place, head: u32, first: u32, start: u32, of_window: bool, invocation: u32
) -> array<vec4<f32>, 4> {
  var products = given;
  let entries = entries_of_tile(first, start, of_window);
  for (var entry = entries.x; entry < entries.y; entry += ENTRIES) {
    var of_entries = array<vec4<f32>, 4>();
//# each chunk
    workgroupBarrier();
    load_relative(place, head, first, start, entry, {{ chunk }}u, invocation);
    workgroupBarrier();
    of_entries = multiply(of_entries, invocation);
//# end
    put_products(of_entries, invocation);
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
      for (var k = 0u; k < 4u; k++) { products[i][k] += relative_product(first, start, entry, i, k, invocation); }
    }
  }
  workgroupBarrier();
  return products;
}

// The score of a query and a key, given the product of their rows; HIDDEN out of sight.
fn pair_score(document: u32, head: u32, query: u32, key: u32, product: f32, seen: vec2<u32>) -> f32 {
  var score = product * score_scale();
  if (BIAS && has_entries(in_window)) { score += bias_of(head, entry_of_pair(query, key)); }
  if (LANDMARK_BIAS && !in_window) { score += landmark_bias_of(document, head, key); }
  return select(HIDDEN, score, key >= seen.x && key < seen.y);
}

// What dropout leaves of its weight.
fn pair_kept(place: Place, head: u32, query: u32, key: u32) -> f32 {
  var column = key;
  if (in_window) { column = info.seen.x + column_of(query, key); }
  return kept(query_hash(place.document, head, query), column);
}
