// Parts of the gradients of attention for the landmarks: dK̄ = Σ dS · (scale · Q) and
// dV̄ = Σ (A ∘ Z) · dO over the queries of one task, and behind them where landmarks have a bias of their
// own Σ dS; `sum_parts` and `sum_landmark_bias` add them up.
//
// An invocation owns GROUP landmarks of one head and goes through a task's queries, whose rows its
// neighbours read at the same time.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

// Vectors of a landmark's part.
const PART: u32 = {{ landmark_part }}u;

var<private> keys: array<array<vec4<f32>, D4>, GROUP>;
var<private> values: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_keys: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_values: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_biases: array<f32, GROUP>;
var<private> query_vectors: array<vec4<f32>, D4>;
var<private> d_output_vectors: array<vec4<f32>, D4>;
var<private> scores: array<f32, GROUP>;
var<private> d_weights: array<f32, GROUP>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let groups = (info.seen.x + GROUP - 1u) / GROUP;
  if (i >= info.batch.z * groups) { return; }
  let first = i % groups * GROUP;
  let head = i / groups % info.batch.x;
  let task = i / groups / info.batch.x;
  let place = place_of(task);
  for (var g = 0u; g < GROUP; g++) {
    d_biases[g] = 0.0;
    let landmark = min(first + g, info.seen.x - 1u);
    let row = ((place.document * info.batch.x + head) * info.seen.x + landmark) * 2u * D4;
    for (var c = 0u; c < D4; c++) {
      keys[g][c] = context_vector(row + c) * score_scale();
      values[g][c] = context_vector(row + D4 + c);
      d_keys[g][c] = vec4<f32>(0.0);
      d_values[g][c] = vec4<f32>(0.0);
    }
  }
  let end = min(place.first + TASK, place.length);
  for (var query = place.first; query < end; query++) {
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
        d_weights[g] += dot(d, values[g][c]);
      }
    }
    var hash = 0u;
    if (DROPOUT) { hash = query_hash(place.document, head, query); }
    for (var g = 0u; g < GROUP; g++) {
      var score = scores[g];
      if (LANDMARK_BIAS) { score += landmark_bias_of(place.document, head, first + g); }
      if (LANDMARK_OFFSETS) {
        let entry = entry_of_landmark(query, first + g);
        if (BIAS) { score += bias_of(head, entry); }
        if (RELATIVE) {
          let relative = relative_of(head, entry);
          var sum = 0.0;
          for (var c = 0u; c < D4; c++) { sum += dot(query_vectors[c], context_vector(relative + c)); }
          score += sum * score_scale();
        }
      }
      var weight = exp(min(score - own.x, 0.0));
      if (CHUNKS && first + g >= landmarks_of(query)) { weight = 0.0; }
      var factor = 1.0;
      if (DROPOUT) { factor = kept(hash, first + g); }
      let d_score = weight * (factor * d_weights[g] - own.y);
      if (LANDMARK_BIAS) { d_biases[g] += d_score; }
      let dropped = weight * factor;
      for (var c = 0u; c < D4; c++) {
        d_keys[g][c] += d_score * query_vectors[c];
        d_values[g][c] += dropped * d_output_vectors[c];
      }
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    let landmark = first + g;
    if (landmark < info.seen.x) {
      let row = ((task * info.batch.x + head) * info.seen.x + landmark) * PART;
      if (LANDMARK_BIAS) { parts[row + 2u * D4] = vec4<f32>(d_biases[g]); }
      for (var c = 0u; c < D4; c++) {
        parts[row + c] = d_keys[g][c] * score_scale();
        parts[row + D4 + c] = d_values[g][c];
      }
    }
  }
}
