// Scores of a tile, with queries on one side and keys on the other. What the rows are, the kernel
// says: `score_left` and `score_right`.

// What the tile at hand is of: window keys, or landmarks.
var<private> in_window: bool;

// Vectors of a row's chunk, a number that compilers do not know: they must not unroll what loops over it.
fn vectors_of(chunk: u32) -> u32 {
  return min(CHUNK, info.keys.w - chunk * CHUNK);
}

// Whether tables by offset have entries for what the tile at hand is of, and the entry of a pair.
fn has_entries() -> bool {
  return (OFFSETS && in_window) || (LANDMARK_OFFSETS && !in_window);
}

fn entry_of_pair(query: u32, key: u32) -> u32 {
  if (LANDMARK_OFFSETS && !in_window) { return entry_of_landmark(query, key); }
  return entry_of_key(query, key);
}

//# load score_left score_right

// Products of the left rows from `first` on with the right ones from `start` on: of each of an
// invocation's right rows a vector of those with its left ones.
fn score_products(place: Place, head: u32, first: u32, start: u32, invocation: u32) -> array<vec4<f32>, 4> {
  var products = array<vec4<f32>, 4>();
//# each chunk
  workgroupBarrier();
  load_score_left(place, head, first, {{ chunk }}u, invocation);
  load_score_right(place, head, start, {{ chunk }}u, invocation);
  workgroupBarrier();
  products = multiply(products, invocation);
  if (RELATIVE && has_entries()) { products = multiply_relative(products, head, first, start, {{ chunk }}u, invocation); }
//# end
  return products;
}

// The score of a query and a key, given the product of their rows; HIDDEN out of sight.
fn pair_score(document: u32, head: u32, query: u32, key: u32, product: f32, seen: vec2<u32>) -> f32 {
  var score = product * score_scale();
  if (BIAS && has_entries()) { score += bias_of(head, entry_of_pair(query, key)); }
  if (LANDMARK_BIAS && !in_window) { score += landmark_bias_of(document, head, key); }
  return select(HIDDEN, score, key >= seen.x && key < seen.y);
}

// What dropout leaves of its weight.
fn pair_kept(place: Place, head: u32, query: u32, key: u32) -> f32 {
  var column = key;
  if (in_window) { column = info.seen.x + column_of(query, key); }
  return kept(query_hash(place.document, head, query), column);
}
