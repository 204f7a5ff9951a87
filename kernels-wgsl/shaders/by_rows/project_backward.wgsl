// Gradients of the projection, with P = exp(score − L) recomputed:
// dS = P ∘ (dK̄·K + dV̄·V − D + dL), dK = Σ P dK̄, dV = Σ P dV̄, the last two added to what is there
// where attention has left its own.
//
// Token-major: a workgroup takes one task of one head, an invocation GROUP neighbouring tokens. All
// go through the document's landmarks, which are staged in workgroup memory.

// Whether the gradients of keys and values are added to what is there.
const ADDS: bool = {{ adds }};

var<private> keys: array<array<vec4<f32>, D4>, GROUP>;
var<private> values: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_keys: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_values: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_key_vectors: array<vec4<f32>, D4>;
var<private> d_value_vectors: array<vec4<f32>, D4>;
var<private> d_weights: array<f32, GROUP>;
// Of four landmarks at a time: scores, and their gradients.
var<private> score_vectors: array<vec4<f32>, GROUP>;
var<private> d_score_vectors: array<vec4<f32>, GROUP>;
var<private> rows: array<u32, GROUP>;
var<private> d_rows: array<u32, GROUP>;
var<private> real: array<bool, GROUP>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let task = workgroup_of(grid);
  if (task >= info.batch.z) { return; }
  let head = task % info.batch.x;
  let place = place_of(task / info.batch.x);
  let first = place.first + invocation * GROUP;
  let last = place.length - 1u;
  for (var g = 0u; g < GROUP; g++) {
    let token = min(first + g, last);
    let k_row = key_row(place.row, head, place.start + token);
    let v_row = value_row(place.row, head, place.start + token);
    for (var c = 0u; c < D4; c++) {
      keys[g][c] = key_at(k_row, c);
      values[g][c] = value_at(v_row, c);
      d_keys[g][c] = vec4<f32>(0.0);
      d_values[g][c] = vec4<f32>(0.0);
    }
    rows[g] = scores_row(place.row, head, place.start + token);
    d_rows[g] = d_scores_row(place.row, head, place.start + token);
    real[g] = is_real(place, token);
  }
  for (var start = 0u; start < info.seen.x; start += STAGED) {
    workgroupBarrier();
    stage(place.document, head, start, invocation);
    workgroupBarrier();
    let count = min(STAGED, info.seen.x - start);
    for (var j = 0u; j < count; j += 4u) {
      for (var g = 0u; g < GROUP; g++) {
        score_vectors[g] = scores_at(rows[g], (start + j) >> 2u);
      }
      for (var part = 0u; part < 4u; part++) {
        // Rows beyond the last landmark are zeros, which add nothing.
        let row = (j + part) * (2u * D4 + 1u);
        let tail = staged[row + 2u * D4];
        for (var g = 0u; g < GROUP; g++) { d_weights[g] = 0.0; }
        for (var c = 0u; c < D4; c++) {
          let dk = staged[row + c];
          let dv = staged[row + D4 + c];
          d_key_vectors[c] = dk;
          d_value_vectors[c] = dv;
          for (var g = 0u; g < GROUP; g++) {
            d_weights[g] += dot(dk, keys[g][c]) + dot(dv, values[g][c]);
          }
        }
        for (var g = 0u; g < GROUP; g++) {
          let weight = select(0.0, exp(min(score_vectors[g][part] - tail.x, 0.0)), real[g]);
          d_score_vectors[g][part] = weight * (d_weights[g] - tail.y);
          for (var c = 0u; c < D4; c++) {
            d_keys[g][c] += weight * d_key_vectors[c];
            d_values[g][c] += weight * d_value_vectors[c];
          }
        }
      }
      for (var g = 0u; g < GROUP; g++) {
        if (first + g < place.length) {
          d_scores_put(d_rows[g], (start + j) >> 2u, d_score_vectors[g]);
        }
      }
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    let token = first + g;
    if (token < place.length) {
      let dk_row = d_key_row(place.row, head, place.start + token);
      let dv_row = d_value_row(place.row, head, place.start + token);
      for (var c = 0u; c < D4; c++) {
        if (ADDS) {
          d_keys[g][c] += d_key_at(dk_row, c);
          d_values[g][c] += d_value_at(dv_row, c);
        }
        d_key_put(dk_row, c, d_keys[g][c]);
        d_value_put(dv_row, c, d_values[g][c]);
      }
    }
  }
}
