// Parts of the gradients for the tables by offset: over all pairs of a task's queries and keys at one
// offset, the sum of dS for the bias, and after it that of dS · (scale · Q) for the relative keys.
// `sum_bias` and `sum_relative_keys` add them up.
//
// A workgroup takes LEFT entries of a table of one head, all of the window's offsets or all of
// landmarks', and visits a task's queries, RIGHT at a time. The keys that stand at these offsets from
// these queries are a few tiles of their own: of their products every pair finds its own in workgroup
// memory. For patterns of one dimension, where neighbours in keys are neighbours in offsets.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<f32>;

// What the workgroup's entries are of.
var<private> of_landmarks: bool;

//# each chunk
var<private> relative_sums_{{ chunk }}: array<vec4<f32>, 4>;
//# end
// Of the four entries, over this invocation's queries.
var<private> bias_sums: vec4<f32>;

fn relative_left(place: Place, head: u32, entry: u32, c: u32) -> vec4<f32> {
  return context_vector(relative_of(head, min(entry, info.chunks.w - 1u)) + c);
}

// First vector in the context of a landmark's key; its value comes after it.
fn landmark_row(place: Place, head: u32, landmark: u32) -> u32 {
  return ((place.document * info.batch.x + head) * info.seen.x + min(landmark, info.seen.x - 1u)) * 2u * D4;
}

fn key_left(place: Place, head: u32, key: u32, c: u32) -> vec4<f32> {
  if (of_landmarks) { return context_vector(landmark_row(place, head, key) + c); }
  return key_at(key_row(place.row, head, place.start + min(key, place.keys - 1u)), c);
}

fn value_left(place: Place, head: u32, key: u32, c: u32) -> vec4<f32> {
  if (of_landmarks) { return context_vector(landmark_row(place, head, key) + D4 + c); }
  return value_at(value_row(place.row, head, place.start + min(key, place.keys - 1u)), c);
}

fn query_right(place: Place, head: u32, query: u32, c: u32) -> vec4<f32> {
  return query_at(query_row(place.row, head, place.start + min(query, place.length - 1u)), c);
}

fn d_output_right(place: Place, head: u32, query: u32, c: u32) -> vec4<f32> {
  return d_output_at(d_output_row(place.row, head, place.start + min(query, place.length - 1u)), c);
}

//# load relative_left key_left value_left query_right d_output_right

// What stands at an entry's offset from a query: a key or a landmark. One before the first wraps around.
fn key_of_entry(query: u32, entry: u32) -> u32 {
  if (of_landmarks) { return landmarks_of(query) - 1u - (entry - info.keys.z); }
  return key_of_offset(query, entry);
}

// From the first to before the end, the keys or landmarks of all pairs of a tile.
fn keys_of_tile(place: Place, first: u32, start: u32, landmarks: bool) -> vec2<u32> {
  let last = start + RIGHT - 1u;
  var ends: vec2<u32>;
  var count = place.keys;
  if (landmarks) {
    let offset = first - info.keys.z;
    ends = vec2<u32>(landmarks_of(start) - offset - LEFT, landmarks_of(last) - offset);
    count = info.seen.x;
  } else {
    ends = vec2<u32>(key_of_offset(start, first + LEFT - 1u), key_of_offset(last, first) + 1u);
  }
  return vec2<u32>(clamp(bitcast<vec2<i32>>(ends), vec2<i32>(0), vec2<i32>(i32(count))));
}

// Whether a query sees the key or landmark that stands at an entry's offset.
fn is_seen(place: Place, head: u32, query: u32, key: u32) -> bool {
  if (of_landmarks) { return key < landmarks_of(query); }
  let run = seen_of(query, vec2<u32>(key, key + 1u), place.keys);
  if (key < run.x || key >= run.y) { return false; }
  // A padded token is known by its log-sum-exp.
  return !PADDED || stats[token_position(place, head, key)].x < -HIDDEN;
}

// Adds to each pair what it finds among the products of the keys from `key` on with the queries.
fn add_found(
  given: array<vec4<f32>, 4>, products: array<vec4<f32>, 4>, first: u32, start: u32, key: u32, invocation: u32
) -> array<vec4<f32>, 4> {
  var sums = given;
  put_products(products, invocation);
  workgroupBarrier();
  for (var i = 0u; i < 4u; i++) {
    let right_row = invocation % LANES + i * LANES;
    for (var k = 0u; k < 4u; k++) {
      let row = key_of_entry(start + right_row, first + invocation / LANES * 4u + k) - key;
      if (row < LEFT) { sums[i][k] += product_at(row, right_row); }
    }
  }
  workgroupBarrier();
  return sums;
}

// Visits the queries from `start` to before `end`, RIGHT at most, for the entries from `first` to before
// `last`.
fn visit(place: Place, head: u32, first: u32, last: u32, start: u32, end: u32, landmarks: bool, invocation: u32) {
  let keys = keys_of_tile(place, first, start, landmarks);
  if (keys.x >= keys.y) { return; }
  var scores = array<vec4<f32>, 4>();
  var d_scores = array<vec4<f32>, 4>();
  if (RELATIVE) {
//# each chunk
    workgroupBarrier();
    load_relative_left(place, head, first, {{ chunk }}u, invocation);
    load_query_right(place, head, start, {{ chunk }}u, invocation);
    workgroupBarrier();
    scores = multiply(scores, invocation);
//# end
  }
  for (var key = keys.x; key < keys.y; key += LEFT) {
    var products = array<vec4<f32>, 4>();
//# each chunk
    workgroupBarrier();
    load_key_left(place, head, key, {{ chunk }}u, invocation);
    load_query_right(place, head, start, {{ chunk }}u, invocation);
    workgroupBarrier();
    products = multiply(products, invocation);
//# end
    scores = add_found(scores, products, first, start, key, invocation);
    products = array<vec4<f32>, 4>();
//# each chunk
    workgroupBarrier();
    load_value_left(place, head, key, {{ chunk }}u, invocation);
    load_d_output_right(place, head, start, {{ chunk }}u, invocation);
    workgroupBarrier();
    products = multiply(products, invocation);
//# end
    d_scores = add_found(d_scores, products, first, start, key, invocation);
  }
  for (var i = 0u; i < 4u; i++) {
    let right_query = start + invocation % LANES + i * LANES;
    let query = min(right_query, end - 1u);
    let own = stats[token_position(place, head, query)];
    for (var k = 0u; k < 4u; k++) {
      let left_entry = first + invocation / LANES * 4u + k;
      let entry = min(left_entry, last - 1u);
      let key = key_of_entry(query, entry);
      var score = scores[i][k] * score_scale();
      if (BIAS) { score += bias_of(head, entry); }
      if (LANDMARK_BIAS && of_landmarks) { score += landmark_bias_of(place.document, head, key); }
      var d_weight = d_scores[i][k];
      if (DROPOUT) {
        var column = key;
        if (!of_landmarks) { column = info.seen.x + column_of(query, key); }
        d_weight *= kept(query_hash(place.document, head, query), column);
      }
      let d_score = exp(min(score - own.x, 0.0)) * (d_weight - own.y);
      let seen = right_query < end && left_entry < last && is_seen(place, head, query, key);
      d_scores[i][k] = select(0.0, d_score, seen);
    }
    bias_sums += d_scores[i];
  }
  if (RELATIVE) {
    put_weights(d_scores, invocation);
//# each chunk
    workgroupBarrier();
    load_query_right(place, head, start, {{ chunk }}u, invocation);
    workgroupBarrier();
    relative_sums_{{ chunk }} = add_weighted(relative_sums_{{ chunk }}, invocation);
//# end
  }
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let workgroup = workgroup_of(grid);
  if (workgroup >= info.batch.z) { return; }
  let entries = info.chunks.w;
  let of_window = (info.keys.z + LEFT - 1u) / LEFT;
  let blocks = of_window + (entries - info.keys.z + LEFT - 1u) / LEFT;
  let block = workgroup % blocks;
  let head = workgroup / blocks % info.batch.x;
  let task = workgroup / blocks / info.batch.x;
  let place = place_of_workgroup(task, invocation);
  let landmarks = block >= of_window;
  of_landmarks = landmarks;
  let first = select(block * LEFT, info.keys.z + (block - of_window) * LEFT, landmarks);
  let last = select(info.keys.z, entries, landmarks);
  let end = min(place.first + TASK, place.length);
  bias_sums = vec4<f32>(0.0);
//# each chunk
  relative_sums_{{ chunk }} = array<vec4<f32>, 4>();
//# end
  for (var start = place.first; start < end; start += RIGHT) {
    visit(place, head, first, last, start, end, landmarks, invocation);
  }
  let biases = group_sum(bias_sums, invocation);
  for (var k = 0u; k < 4u; k++) {
    let entry = first + invocation / LANES * 4u + k;
    if (entry < last) {
      let row = (task * info.batch.x + head) * entries + entry;
      if (RELATIVE) {
        let part = row * (4u * D4 + 1u);
        if (invocation % LANES == 0u) { parts[part] = biases[k]; }
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) {
          let sum_{{ chunk }} = relative_sums_{{ chunk }}[k] * score_scale();
          for (var j = 0u; j < 4u; j++) { parts[part + 1u + 4u * c_{{ chunk }} + j] = sum_{{ chunk }}[j]; }
        }
//# end
      } else if (invocation % LANES == 0u) {
        parts[row] = biases[k];
      }
    }
  }
}
