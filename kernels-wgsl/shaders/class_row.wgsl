// Parts of what a class row reads: over the tokens of one task, [Σ p·C | largest score, Σ p], with
// p = exp(q·C − largest); `class_row_merge` brings the parts of a document together.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

var<workgroup> weights: array<f32, INVOCATIONS>;

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
  let query = query_row(place.document, head, 0u);
  let lane = invocation % LANES;
  var largest = HIDDEN;
  var total = 0.0;
  for (var start = place.first; start < end; start += INVOCATIONS) {
    var score = 0.0;
//# each chunk
    stage(place, head, start, {{ chunk }}u, invocation);
    for (var v = 0u; v < min(LANES, D4 - {{ chunk }}u * LANES); v++) {
      score += dot(query_at(query, {{ chunk }}u * LANES + v), rows[invocation * STRIDE + v]);
    }
//# end
    let token = start + invocation;
    let seen = token < end && is_real(place, min(token, place.length - 1u));
    weights[invocation] = select(HIDDEN, score, seen);
    workgroupBarrier();
    var top = largest;
    for (var i = 0u; i < INVOCATIONS; i++) { top = max(top, weights[i]); }
    workgroupBarrier();
    weights[invocation] = select(0.0, exp(score - top), seen);
    workgroupBarrier();
    let fade = exp(largest - top);
    largest = top;
    total *= fade;
    for (var i = 0u; i < INVOCATIONS; i++) { total += weights[i]; }
//# each chunk
    if (CHUNKS > 1u) { stage(place, head, start, {{ chunk }}u, invocation); }
    sums_{{ chunk }} *= fade;
    for (var i = invocation / LANES; i < INVOCATIONS; i += APART) {
      sums_{{ chunk }} += weights[i] * rows[i * STRIDE + lane];
    }
//# end
  }
  let part = workgroup * (D4 + 1u);
//# each chunk
  let sum_{{ chunk }} = lane_sum(sums_{{ chunk }}, invocation);
  let c_{{ chunk }} = {{ chunk }}u * LANES + lane;
  if (invocation < LANES && c_{{ chunk }} < D4) { parts[part + c_{{ chunk }}] = sum_{{ chunk }}; }
//# end
  if (invocation == 0u) { parts[part + D4] = vec4<f32>(largest, total, 0.0, 0.0); }
}
