// Parts of the gradients for the tables by offset: over all pairs of a task's queries and keys at one
// offset, the sum of dS for the bias, and after it that of dS · (scale · Q) for the relative keys.
// `sum_bias` and `sum_relative_keys` add them up.
//
// An invocation owns one offset of one head and goes through a task's queries.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<f32>;

var<private> d_relative: array<vec4<f32>, D4>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let offsets = info.keys.z;
  if (i >= info.batch.z * offsets) { return; }
  let offset = i % offsets;
  let head = i / offsets % info.batch.x;
  let place = place_of(i / offsets / info.batch.x);
  let end = min(place.first + TASK, place.length);
  var bias = 0.0;
  if (BIAS) { bias = bitcast<f32>(context_word(info.context.x + head * offsets + offset)); }
  let relative = info.tasks.z + (head * offsets + offset) * D4;
  var sum = 0.0;
  if (RELATIVE) {
    for (var c = 0u; c < D4; c++) { d_relative[c] = vec4<f32>(0.0); }
  }
  for (var query = place.first; query < end; query++) {
    let key = key_of_offset(query, offset);
    // A key before the document's first wraps around, and so lies beyond the window's end.
    let seen = seen_of(query, vec2<u32>(key, key + 1u), place.keys);
    if (key < seen.x || key >= seen.y) { continue; }
    if (PADDED) {
      if (stats[token_position(place, head, key)].x >= -HIDDEN) { continue; }
    }
    let own = stats[token_position(place, head, query)];
    let q_row = query_row(place.row, head, place.start + query);
    let d_row = d_output_row(place.row, head, place.start + query);
    let k_row = key_row(place.row, head, place.start + key);
    let v_row = value_row(place.row, head, place.start + key);
    var score = 0.0;
    var d_weight = 0.0;
    // A bound that compilers do not know keeps them from unrolling, and their registers free.
    for (var c = 0u; c < info.keys.w; c++) {
      var k = key_at(k_row, c);
      if (RELATIVE) { k += context_vector(relative + c); }
      score += dot(query_at(q_row, c), k);
      d_weight += dot(d_output_at(d_row, c), value_at(v_row, c));
    }
    if (DROPOUT) {
      d_weight *= kept(query_hash(place.document, head, query), info.seen.x + column_of(query, key));
    }
    let weight = exp(min(score * score_scale() + bias - own.x, 0.0));
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
