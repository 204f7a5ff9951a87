// Gradients of what a class row reads, for the tokens: with P = exp(q·C − L) recomputed and
// dS = P (dO·C − D), D = Σ dO ∘ O: dC = P dO + dS q. Of the query each task sums its own, Σ dS C, as a
// part. What `class_row_merge` left in `readings` is [O | q | k | v | (L, own score)] of each row.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding({{ readings_binding }}) var<storage, read_write> readings: array<vec4<f32>>;

// Of each token (P, dS).
var<workgroup> weights: array<vec2<f32>, INVOCATIONS>;

//# each chunk
var<private> sums_{{ chunk }}: vec4<f32>;
//# end

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let workgroup = workgroup_of(grid);
  if (workgroup >= info.batch.z) { return; }
  let head = workgroup % info.batch.x;
  let place = place_of_workgroup(workgroup / info.batch.x, invocation);
  let end = min(place.first + TASK, place.length);
  let given = d_output_row(place.document, head, 0u);
  let reading = (place.document * info.batch.x + head) * (4u * D4 + 1u);
  let log_sum_exp = readings[reading + 4u * D4].x;
  let lane = invocation % LANES;
  var delta = 0.0;
  for (var c = 0u; c < D4; c++) { delta += dot(d_output_at(given, c), readings[reading + c]); }
  for (var start = place.first; start < end; start += INVOCATIONS) {
    var score = 0.0;
    var d_weight = 0.0;
//# each chunk
    stage(place, head, start, {{ chunk }}u, invocation);
    for (var v = 0u; v < min(LANES, D4 - {{ chunk }}u * LANES); v++) {
      let c = {{ chunk }}u * LANES + v;
      let row = rows[invocation * STRIDE + v];
      score += dot(readings[reading + D4 + c], row);
      d_weight += dot(d_output_at(given, c), row);
    }
//# end
    let token = start + invocation;
    let seen = token < end && is_real(place, min(token, place.length - 1u));
    let weight = select(0.0, exp(min(score - log_sum_exp, 0.0)), seen);
    weights[invocation] = vec2<f32>(weight, weight * (d_weight - delta));
    workgroupBarrier();
//# each chunk
    if (CHUNKS > 1u) { stage(place, head, start, {{ chunk }}u, invocation); }
    let c_{{ chunk }} = {{ chunk }}u * LANES + lane;
    if (c_{{ chunk }} < D4) {
      let d_{{ chunk }} = d_output_at(given, c_{{ chunk }});
      let query_{{ chunk }} = readings[reading + D4 + c_{{ chunk }}];
      for (var i = invocation / LANES; i < INVOCATIONS; i += APART) {
        let weight = weights[i];
        sums_{{ chunk }} += weight.y * rows[i * STRIDE + lane];
        if (start + i < end) {
          let to = d_tokens_row(place.row, head, place.start + start + i);
          d_tokens_put(to, c_{{ chunk }}, weight.x * d_{{ chunk }} + weight.y * query_{{ chunk }});
        }
      }
    }
//# end
  }
//# each chunk
  let sum_{{ chunk }} = lane_sum(sums_{{ chunk }}, invocation);
  let to_{{ chunk }} = {{ chunk }}u * LANES + lane;
  if (invocation < LANES && to_{{ chunk }} < D4) { parts[workgroup * D4 + to_{{ chunk }}] = sum_{{ chunk }}; }
//# end
}
