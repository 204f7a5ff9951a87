// Attention of queries over landmarks and window under one softmax, which runs online: tile by tile the
// sums are brought to the largest score so far.
//
// A workgroup takes one task (a stretch of queries of one document) of one head, LEFT queries at a time,
// and visits the landmarks and the runs of keys that they see.
@group(0) @binding({{ log_sum_exp_binding }}) var<storage, read_write> log_sum_exp: array<f32>;

//# each chunk
var<private> sums_{{ chunk }}: array<vec4<f32>, 4>;
//# end
// Of the invocation's queries: the largest score, and the sum of weights of this invocation's keys.
var<private> largest: vec4<f32>;
var<private> total: vec4<f32>;

//# load value_right

// Visits the keys from `start` to before `end`, RIGHT at most, for the queries from `first` on.
fn visit(place: Place, head: u32, first: u32, start: u32, end: u32, of_window: bool, invocation: u32) {
  var scores = score_products(place, head, first, start, of_window, invocation);
  let own = first + invocation / LANES * 4u;
  var top = largest;
  for (var i = 0u; i < 4u; i++) {
    let key = start + invocation % LANES + i * LANES;
    var real = key < end;
    if (PADDED && in_window) { real = real && is_real(place, min(key, end - 1u)); }
    for (var k = 0u; k < 4u; k++) {
      let query = min(own + k, place.length - 1u);
      let score = pair_score(place.document, head, query, key, scores[i][k], vec2<u32>(seen_first[k], seen_end[k]));
      scores[i][k] = select(HIDDEN, score, real);
    }
    top = max(top, scores[i]);
  }
  top = group_max(top, invocation);
  let fade = exp(largest - top);
  largest = top;
  total *= fade;
  for (var i = 0u; i < 4u; i++) {
    scores[i] = select(vec4<f32>(0.0), exp(scores[i] - top), scores[i] > vec4<f32>(HIDDEN));
    total += scores[i];
    if (DROPOUT) {
      let key = start + invocation % LANES + i * LANES;
      for (var k = 0u; k < 4u; k++) { scores[i][k] *= pair_kept(place, head, own + k, key); }
    }
  }
  put_weights(scores, invocation);
//# each chunk
  workgroupBarrier();
  load_value_right(place, head, start, {{ chunk }}u, invocation);
  workgroupBarrier();
  for (var k = 0u; k < 4u; k++) { sums_{{ chunk }}[k] *= fade[k]; }
  sums_{{ chunk }} = add_weighted(sums_{{ chunk }}, invocation);
//# end
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
    largest = vec4<f32>(HIDDEN);
    total = vec4<f32>(0.0);
//# each chunk
    sums_{{ chunk }} = array<vec4<f32>, 4>();
//# end
    visit_seen(place, head, first, task_end, invocation);
    total = group_sum(total, invocation);
    for (var k = 0u; k < 4u; k++) {
      let query = own + k;
      if (query < task_end) {
        let sees = total[k] > 0.0 && is_real(place, query);
        let share = select(0.0, 1.0 / total[k], sees);
        let row = output_row(place.row, head, place.start + query);
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) { output_put(row, c_{{ chunk }}, sums_{{ chunk }}[k] * share); }
//# end
        if (invocation % LANES == 0u) {
          log_sum_exp[token_position(place, head, query)] = select(0.0, largest[k] + log(total[k]), sees);
        }
      }
    }
  }
}
