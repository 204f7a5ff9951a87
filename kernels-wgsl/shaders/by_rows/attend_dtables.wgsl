// Parts of the gradients for the tables by offset: over all pairs of a task's queries and keys at one
// offset, the sum of dS for the bias, and after it that of dS · (scale · Q) for the relative keys.
// `sum_bias` and `sum_relative_keys` add them up.
//
// An invocation owns one offset of one head and goes through a task's queries. Behind the window's
// offsets come those of landmarks.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<f32>;

var<private> d_relative: array<vec4<f32>, D4>;

// A pair of a query and what it meets at an offset, if it sees that.
struct Pair {
  seen: bool,
  // The key in its document, or the landmark; its column for dropout.
  key: u32,
  column: u32,
}

fn landmark_at(query: u32, offset: u32) -> Pair {
  let count = landmarks_of(query);
  let landmark = count - 1u - offset;
  return Pair(offset < count, landmark, landmark);
}

fn key_at_offset(place: Place, head: u32, query: u32, offset: u32) -> Pair {
  let key = key_of_offset(query, offset);
  // A key before the document's first wraps around, and so lies beyond the window's end.
  let run = seen_of(query, vec2<u32>(key, key + 1u), place.keys);
  var seen = key >= run.x && key < run.y;
  // A padded token is known by its log-sum-exp.
  if (PADDED && seen) { seen = stats[token_position(place, head, key)].x < -HIDDEN; }
  return Pair(seen, key, info.seen.x + column_of(query, key));
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let entries = info.chunks.w;
  if (i >= info.batch.z * entries) { return; }
  let entry = i % entries;
  let head = i / entries % info.batch.x;
  let place = place_of(i / entries / info.batch.x);
  let end = min(place.first + TASK, place.length);
  let of_landmarks = LANDMARK_OFFSETS && entry >= info.keys.z;
  let landmark_rows = (place.document * info.batch.x + head) * info.seen.x;
  var bias = 0.0;
  if (BIAS) { bias = bias_of(head, entry); }
  let relative = relative_of(head, entry);
  var sum = 0.0;
  if (RELATIVE) {
    for (var c = 0u; c < D4; c++) { d_relative[c] = vec4<f32>(0.0); }
  }
  for (var query = place.first; query < end; query++) {
    var pair: Pair;
    if (of_landmarks) {
      pair = landmark_at(query, entry - info.keys.z);
    } else {
      pair = key_at_offset(place, head, query, entry);
    }
    if (!pair.seen) { continue; }
    let own = stats[token_position(place, head, query)];
    let q_row = query_row(place.row, head, place.start + query);
    let d_row = d_output_row(place.row, head, place.start + query);
    var k_row = 0u;
    var v_row = 0u;
    if (of_landmarks) {
      k_row = (landmark_rows + pair.key) * 2u * D4;
    } else {
      k_row = key_row(place.row, head, place.start + pair.key);
      v_row = value_row(place.row, head, place.start + pair.key);
    }
    var score = 0.0;
    var d_weight = 0.0;
    // A bound that compilers do not know keeps them from unrolling, and their registers free.
    for (var c = 0u; c < info.keys.w; c++) {
      var k: vec4<f32>;
      var v: vec4<f32>;
      if (of_landmarks) {
        k = context_vector(k_row + c);
        v = context_vector(k_row + D4 + c);
      } else {
        k = key_at(k_row, c);
        v = value_at(v_row, c);
      }
      if (RELATIVE) { k += context_vector(relative + c); }
      score += dot(query_at(q_row, c), k);
      d_weight += dot(d_output_at(d_row, c), v);
    }
    score = score * score_scale() + bias;
    if (LANDMARK_BIAS && of_landmarks) { score += landmark_bias_of(place.document, head, pair.key); }
    if (DROPOUT) { d_weight *= kept(query_hash(place.document, head, query), pair.column); }
    let weight = exp(min(score - own.x, 0.0));
    let d_score = weight * (d_weight - own.y);
    sum += d_score;
    if (RELATIVE) {
      for (var c = 0u; c < D4; c++) { d_relative[c] += d_score * score_scale() * query_at(q_row, c); }
    }
  }
  if (RELATIVE) {
    let part = i * (4u * D4 + 1u);
    parts[part] = sum;
    for (var c = 0u; c < D4; c++) {
      for (var j = 0u; j < 4u; j++) { parts[part + 1u + 4u * c + j] = d_relative[c][j]; }
    }
  } else {
    parts[i] = sum;
  }
}
