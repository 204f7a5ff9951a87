// Gradients of attention for the window's keys and values: dK = Σ dS · (scale · Q) and
// dV = Σ (A ∘ Z) · dO, over the queries that see the key.
//
// Key-major: a workgroup takes one task of keys of one head, an invocation GROUP neighbouring keys,
// and visits the runs of queries that see them. Where a device has too few storage buffers for both
// outputs, it is launched once for each.
const D_KEY: bool = {{ d_key }};
const D_VALUE: bool = {{ d_value }};
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;

var<private> keys: array<array<vec4<f32>, D4>, GROUP>;
var<private> values: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_keys: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_values: array<array<vec4<f32>, D4>, GROUP>;
var<private> query_vectors: array<vec4<f32>, D4>;
var<private> d_output_vectors: array<vec4<f32>, D4>;
var<private> scores: array<f32, GROUP>;
var<private> d_weights: array<f32, GROUP>;
var<private> real: array<bool, GROUP>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let task = workgroup_of(grid);
  if (task >= info.batch.z) { return; }
  let head = task % info.batch.x;
  let place = place_of(task / info.batch.x);
  let first = place.first + invocation * GROUP;
  if (first >= place.keys) { return; }
  let last = min(first + GROUP, place.keys) - 1u;
  for (var g = 0u; g < GROUP; g++) {
    let token = place.start + min(first + g, last);
    let k_row = key_row(place.row, head, token);
    for (var c = 0u; c < D4; c++) {
      keys[g][c] = key_at(k_row, c) * score_scale();
      d_keys[g][c] = vec4<f32>(0.0);
      d_values[g][c] = vec4<f32>(0.0);
    }
    {{ load_values }}
    real[g] = true;
    if (PADDED) { real[g] = stats[token_position(place, head, min(first + g, last))].x < -HIDDEN; }
  }

  let runs = query_runs_of(first, last);
  for (var number = 0u; number < runs; number++) {
    let run = query_run_of(first, last, number, place.length);
    for (var query = run.x; query < run.y; query++) {
      let own = stats[token_position(place, head, query)];
      let q_row = query_row(place.row, head, place.start + query);
      let d_row = d_output_row(place.row, head, place.start + query);
      for (var g = 0u; g < GROUP; g++) {
        scores[g] = 0.0;
        d_weights[g] = 0.0;
      }
      for (var c = 0u; c < D4; c++) {
        let q = query_at(q_row, c);
        let d = d_output_at(d_row, c);
        query_vectors[c] = q;
        d_output_vectors[c] = d;
        for (var g = 0u; g < GROUP; g++) {
          scores[g] += dot(q, keys[g][c]);
          if (D_KEY) { d_weights[g] += dot(d, values[g][c]); }
        }
      }
      var hash = 0u;
      if (DROPOUT) { hash = query_hash(place.document, head, query); }
      // Of one dimension's patterns, what a query sees is the same for every key.
      var seen = seen_of(query, vec2<u32>(first, last + 1u), place.keys);
      for (var g = 0u; g < GROUP; g++) {
        let key = first + g;
        if (ROWS) { seen = seen_of(query, vec2<u32>(key, key + 1u), place.keys); }
        var score = scores[g];
        if (OFFSETS) {
          let entry = entry_of_key(query, key);
          if (BIAS) { score += bias_of(head, entry); }
          if (RELATIVE) {
            let relative = relative_of(head, entry);
            var sum = 0.0;
            for (var c = 0u; c < D4; c++) { sum += dot(query_vectors[c], context_vector(relative + c)); }
            score += sum * score_scale();
          }
        }
        let visible = real[g] && key >= seen.x && key < seen.y;
        let weight = select(0.0, exp(min(score - own.x, 0.0)), visible);
        var factor = 1.0;
        if (DROPOUT) { factor = kept(hash, info.seen.x + column_of(query, key)); }
        if (D_KEY) {
          let d_score = weight * (factor * d_weights[g] - own.y);
          for (var c = 0u; c < D4; c++) {
            d_keys[g][c] += d_score * query_vectors[c];
          }
        }
        if (D_VALUE) {
          let dropped = weight * factor;
          for (var c = 0u; c < D4; c++) {
            d_values[g][c] += dropped * d_output_vectors[c];
          }
        }
      }
    }
  }

  for (var g = 0u; g < GROUP; g++) {
    let key = first + g;
    if (key < place.keys) {
      {{ store }}
    }
  }
}
