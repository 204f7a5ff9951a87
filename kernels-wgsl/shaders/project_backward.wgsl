// Gradients of the projection, with P = exp(score − L) recomputed:
// dS = P ∘ (dK̄·K + dV̄·V − D + dL), dK = Σ P dK̄, dV = Σ P dV̄, the last two added to what is there
// where attention has left its own.
//
// A workgroup takes one task of one head, LEFT tokens at a time, and visits the document's landmarks.
// An invocation's right rows are four neighbours, whose scores lie side by side.

// Whether the gradients of keys and values are added to what is there.
const ADDS: bool = {{ adds }};

//# each chunk
var<private> key_sums_{{ chunk }}: array<vec4<f32>, 4>;
var<private> value_sums_{{ chunk }}: array<vec4<f32>, 4>;
//# end

fn key_left(place: Place, head: u32, token: u32, c: u32) -> vec4<f32> {
  return key_at(key_row(place.row, head, place.start + min(token, place.length - 1u)), c);
}

fn value_left(place: Place, head: u32, token: u32, c: u32) -> vec4<f32> {
  return value_at(value_row(place.row, head, place.start + min(token, place.length - 1u)), c);
}

// First vector in the context of a landmark: its gradient [dK̄ | dV̄], then (L, D − dL).
fn landmark_row(place: Place, head: u32, landmark: u32) -> u32 {
  let own = min(landmark, info.seen.x - 1u);
  return ((place.document * info.batch.x + head) * info.seen.x + own) * (2u * D4 + 1u);
}

// The landmark in a row of a tile.
fn landmark_of(row: u32) -> u32 {
  let place = row % RIGHT;
  return row - place + place % LANES * 4u + place / LANES;
}

fn d_key_right(place: Place, head: u32, row: u32, c: u32) -> vec4<f32> {
  return context_vector(landmark_row(place, head, landmark_of(row)) + c);
}

fn d_value_right(place: Place, head: u32, row: u32, c: u32) -> vec4<f32> {
  return context_vector(landmark_row(place, head, landmark_of(row)) + D4 + c);
}

//# load key_left value_left d_key_right d_value_right

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let task = workgroup_of(grid);
  if (task >= info.batch.z) { return; }
  let head = task % info.batch.x;
  let place = place_of_workgroup(task / info.batch.x, invocation);
  let task_end = min(place.first + TASK, place.length);
  for (var first = place.first; first < task_end; first += LEFT) {
    let own = first + invocation / LANES * 4u;
//# each chunk
    key_sums_{{ chunk }} = array<vec4<f32>, 4>();
    value_sums_{{ chunk }} = array<vec4<f32>, 4>();
//# end
    for (var start = 0u; start < info.seen.x; start += RIGHT) {
      var d_weights = array<vec4<f32>, 4>();
//# each chunk
      workgroupBarrier();
      load_key_left(place, head, first, {{ chunk }}u, invocation);
      load_d_key_right(place, head, start, {{ chunk }}u, invocation);
      workgroupBarrier();
      d_weights = multiply(d_weights, invocation);
      workgroupBarrier();
      load_value_left(place, head, first, {{ chunk }}u, invocation);
      load_d_value_right(place, head, start, {{ chunk }}u, invocation);
      workgroupBarrier();
      d_weights = multiply(d_weights, invocation);
//# end
      // Four landmarks of each of four tokens.
      let landmark = start + invocation % LANES * 4u;
      var shares = array<vec4<f32>, 4>();
      if (landmark < info.seen.x) {
        var tails = array<vec2<f32>, 4>();
        for (var i = 0u; i < 4u; i++) {
          tails[i] = context_vector(landmark_row(place, head, landmark + i) + 2u * D4).xy;
        }
        for (var k = 0u; k < 4u; k++) {
          let token = min(own + k, place.length - 1u);
          let found = scores_at(scores_row(place.row, head, place.start + token), landmark >> 2u);
          let real = is_real(place, token);
          var d_scores = vec4<f32>(0.0);
          for (var i = 0u; i < 4u; i++) {
            let seen = real && landmark + i < info.seen.x;
            let weight = select(0.0, exp(min(found[i] - tails[i].x, 0.0)), seen);
            shares[i][k] = weight;
            d_scores[i] = weight * (d_weights[i][k] - tails[i].y);
          }
          if (own + k < task_end) {
            d_scores_put(d_scores_row(place.row, head, place.start + own + k), landmark >> 2u, d_scores);
          }
        }
      }
      put_weights(shares, invocation);
//# each chunk
      workgroupBarrier();
      load_d_key_right(place, head, start, {{ chunk }}u, invocation);
      workgroupBarrier();
      key_sums_{{ chunk }} = add_weighted(key_sums_{{ chunk }}, invocation);
      workgroupBarrier();
      load_d_value_right(place, head, start, {{ chunk }}u, invocation);
      workgroupBarrier();
      value_sums_{{ chunk }} = add_weighted(value_sums_{{ chunk }}, invocation);
//# end
    }
    for (var k = 0u; k < 4u; k++) {
      if (own + k < task_end) {
        let key_to = d_key_row(place.row, head, place.start + own + k);
        let value_to = d_value_row(place.row, head, place.start + own + k);
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) {
          var d_key = key_sums_{{ chunk }}[k];
          var d_value = value_sums_{{ chunk }}[k];
          if (ADDS) {
            d_key += d_key_at(key_to, c_{{ chunk }});
            d_value += d_value_at(value_to, c_{{ chunk }});
          }
          d_key_put(key_to, c_{{ chunk }}, d_key);
          d_value_put(value_to, c_{{ chunk }}, d_value);
        }
//# end
      }
    }
  }
}
