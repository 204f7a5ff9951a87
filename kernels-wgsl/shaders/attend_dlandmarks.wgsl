// Parts of the gradients of attention for the landmarks: dK̄ = Σ dS · (scale · Q) and
// dV̄ = Σ (A ∘ Z) · dO over the queries of one task, and behind them where landmarks have a bias of their
// own Σ dS; `sum_parts` and `sum_landmark_bias` add them up.
//
// A workgroup takes one task of queries of one head, and LEFT landmarks at a time.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

// Vectors of a landmark's part.
const PART: u32 = {{ landmark_part }}u;

// First vector of a landmark's row in the context.
fn landmark_row(document: u32, head: u32, landmark: u32) -> u32 {
  return ((document * info.batch.x + head) * info.seen.x + min(landmark, info.seen.x - 1u)) * 2u * D4;
}

fn score_left(place: Place, head: u32, landmark: u32, c: u32) -> vec4<f32> {
  return context_vector(landmark_row(place.document, head, landmark) + c);
}

fn value_left(place: Place, head: u32, landmark: u32, c: u32) -> vec4<f32> {
  return context_vector(landmark_row(place.document, head, landmark) + D4 + c);
}

fn seen_from(query: u32, landmark: u32, place: Place) -> vec2<u32> {
  return vec2<u32>(0u, landmarks_of(query));
}

fn is_real_key(k: u32) -> bool {
  return true;
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let workgroup = workgroup_of(grid);
  if (workgroup >= info.batch.z) { return; }
  let head = workgroup % info.batch.x;
  let task = workgroup / info.batch.x;
  let place = place_of_workgroup(task, invocation);
  in_window = false;
  let end = min(place.first + TASK, place.length);
  for (var first = 0u; first < info.seen.x; first += LEFT) {
    clear_sums();
    for (var start = place.first; start < end; start += RIGHT) {
      visit(place, head, first, start, end, false, invocation);
    }
    if (BIASES) { bias_sums = group_sum(bias_sums, invocation); }
    for (var k = 0u; k < 4u; k++) {
      let landmark = first + invocation / LANES * 4u + k;
      if (landmark < info.seen.x) {
        let row = ((task * info.batch.x + head) * info.seen.x + landmark) * PART;
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) {
          parts[row + c_{{ chunk }}] = score_sums_{{ chunk }}[k] * score_scale();
          parts[row + D4 + c_{{ chunk }}] = value_sums_{{ chunk }}[k];
        }
//# end
        if (BIASES && invocation % LANES == 0u) { parts[row + 2u * D4] = vec4<f32>(bias_sums[k]); }
      }
    }
  }
}
