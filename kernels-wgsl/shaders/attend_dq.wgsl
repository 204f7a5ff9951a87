// Gradient of attention for its queries: dQ = scale · Σ dS · [K̄ | K].
//
// A workgroup takes one task of queries of one head, LEFT at a time, and visits the landmarks and the
// runs of keys that they see.

// Of the invocation's queries: log-sum-exp and D.
var<private> own_log_sum_exp: vec4<f32>;
var<private> own_delta: vec4<f32>;

fn value_left(place: Place, head: u32, query: u32, c: u32) -> vec4<f32> {
  return d_output_at(d_output_row(place.row, head, place.start + min(query, place.length - 1u)), c);
}

fn delta_of(place: Place, head: u32, key: u32) -> vec4<f32> {
  return own_delta;
}

fn weigh(place: Place, head: u32, first: u32, start: u32, end: u32, given: array<vec4<f32>, 4>, invocation: u32) {
  var products = given;
  let left_query = first + invocation / LANES * 4u;
  for (var i = 0u; i < 4u; i++) {
    let key = start + invocation % LANES + i * LANES;
    var real = key < end;
    // A padded token is known by its log-sum-exp.
    if (PADDED && in_window) {
      real = real && stats[token_position(place, head, min(key, end - 1u))].x < -HIDDEN;
    }
    for (var k = 0u; k < 4u; k++) {
      let query = min(left_query + k, place.length - 1u);
      let seen = vec2<u32>(seen_first[k], seen_end[k]);
      let weight = pair_weight(place.document, head, query, key, products[i][k], own_log_sum_exp[k], seen);
      weight_of[i][k] = select(0.0, weight, real);
      if (DROPOUT) { keep(i, k, pair_kept(place, head, query, key)); }
    }
  }
}

// Adds the keys by offset by the weights.
fn add_relative(given: array<vec4<f32>, 4>, head: u32, first: u32, start: u32, end: u32, chunk: u32, invocation: u32) -> array<vec4<f32>, 4> {
  var sums = given;
  let group = invocation / LANES;
  let c = chunk * CHUNK + invocation % LANES;
  if (c >= D4) { return sums; }
  // A bound that compilers do not know keeps them from unrolling, and their registers free.
  for (var j = 0u; j < min(RIGHT, end - start); j++) {
    let weight = weights_of_row(j, group);
    for (var k = 0u; k < 4u; k++) {
      let entry = entry_of_pair(first + group * 4u + k, start + j);
      sums[k] += weight[k] * context_vector(relative_of(head, entry) + c);
    }
  }
  return sums;
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let task = workgroup_of(grid);
  if (task >= info.batch.z) { return; }
  let head = task % info.batch.x;
  let place = place_of_workgroup(task / info.batch.x, invocation);
  let task_end = min(place.first + TASK, place.length);
  for (var first = place.first; first < task_end; first += LEFT) {
    let own = first + invocation / LANES * 4u;
    for (var k = 0u; k < 4u; k++) {
      let query = min(own + k, place.length - 1u);
      let of_query = stats[token_position(place, head, query)];
      own_log_sum_exp[k] = of_query.x;
      own_delta[k] = of_query.y;
    }
    clear_sums();
    visit_seen(place, head, first, task_end, invocation);
    for (var k = 0u; k < 4u; k++) {
      if (own + k < task_end) {
        let row = d_query_row(place.row, head, place.start + own + k);
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) { d_query_put(row, c_{{ chunk }}, score_sums_{{ chunk }}[k] * score_scale()); }
//# end
      }
    }
  }
}
