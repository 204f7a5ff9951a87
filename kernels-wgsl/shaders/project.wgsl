// Parts of the landmarks: over the tokens of one task, [Σ p·K | Σ p·V | largest score, Σ p], with
// p = exp(score − largest); `project_merge` brings the parts of a document together.
//
// A workgroup takes one task of one head, LEFT landmarks at a time, and goes through the task's tokens
// twice: for the largest scores, then for the sums.
@group(0) @binding({{ scores_binding }}) var<storage, read_write> scores: array<{{ element }}>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

//# each chunk
var<private> key_sums_{{ chunk }}: array<vec4<f32>, 4>;
var<private> value_sums_{{ chunk }}: array<vec4<f32>, 4>;
//# end

fn key_right(place: Place, head: u32, token: u32, c: u32) -> vec4<f32> {
  return key_at(key_row(place.row, head, place.start + min(token, place.length - 1u)), c);
}

fn value_right(place: Place, head: u32, token: u32, c: u32) -> vec4<f32> {
  return value_at(value_row(place.row, head, place.start + min(token, place.length - 1u)), c);
}

//# load key_right value_right

// Scores of the landmarks from `first` on for a token; HIDDEN for padded ones and from `end` on.
fn scores_of(place: Place, head: u32, first: u32, token: u32, end: u32) -> vec4<f32> {
  if (token >= end) { return vec4<f32>(HIDDEN); }
  if (PADDED) {
    if (!is_real(place, token)) { return vec4<f32>(HIDDEN); }
  }
  let strides = info.strides[0];
  let row = place.row * strides.x + head * strides.y + (place.start + token) * strides.w;
  let last = vec4<u32>(info.seen.x - 1u);
  let at = row + min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), last) * strides.z;
  return vec4<f32>(f32(scores[at.x]), f32(scores[at.y]), f32(scores[at.z]), f32(scores[at.w]));
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let workgroup = workgroup_of(grid);
  if (workgroup >= info.batch.z) { return; }
  let head = workgroup % info.batch.x;
  let task = workgroup / info.batch.x;
  let place = place_of_workgroup(task, invocation);
  let end = min(place.first + TASK, place.length);
  for (var first = 0u; first < info.seen.x; first += LEFT) {
    let own = first + invocation / LANES * 4u;
    var largest = vec4<f32>(HIDDEN);
    for (var token = place.first + invocation % LANES; token < end; token += LANES) {
      largest = max(largest, scores_of(place, head, own, token, end));
    }
    largest = group_max(largest, invocation);
    var total = vec4<f32>(0.0);
//# each chunk
    key_sums_{{ chunk }} = array<vec4<f32>, 4>();
    value_sums_{{ chunk }} = array<vec4<f32>, 4>();
//# end
    for (var start = place.first; start < end; start += RIGHT) {
      var shares = array<vec4<f32>, 4>();
      for (var i = 0u; i < 4u; i++) {
        let score = scores_of(place, head, own, start + invocation % LANES + i * LANES, end);
        shares[i] = select(vec4<f32>(0.0), exp(score - largest), score > vec4<f32>(HIDDEN));
        total += shares[i];
      }
      workgroupBarrier();
      put_weights(shares, invocation);
//# each chunk
      workgroupBarrier();
      load_key_right(place, head, start, {{ chunk }}u, invocation);
      workgroupBarrier();
      key_sums_{{ chunk }} = add_weighted(key_sums_{{ chunk }}, invocation);
      workgroupBarrier();
      load_value_right(place, head, start, {{ chunk }}u, invocation);
      workgroupBarrier();
      value_sums_{{ chunk }} = add_weighted(value_sums_{{ chunk }}, invocation);
//# end
    }
    total = group_sum(total, invocation);
    for (var k = 0u; k < 4u; k++) {
      let landmark = own + k;
      if (landmark < info.seen.x) {
        let row = ((task * info.batch.x + head) * info.seen.x + landmark) * (2u * D4 + 1u);
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) {
          parts[row + c_{{ chunk }}] = key_sums_{{ chunk }}[k];
          parts[row + D4 + c_{{ chunk }}] = value_sums_{{ chunk }}[k];
        }
//# end
        if (invocation % LANES == 0u) { parts[row + 2u * D4] = vec4<f32>(largest[k], total[k], 0.0, 0.0); }
      }
    }
  }
}
