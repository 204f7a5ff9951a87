// Gradients of a LayerNorm, its statistics computed again: with g = γ ∘ dY,
// dX = (g − mean g − x̂ mean(g ∘ x̂)) / √(variance + ε), added to another gradient where there is one;
// of γ and β each slot sums its own rows, dY ∘ x̂ and dY, as a part.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

var<private> d_vectors: array<vec4<f32>, GROUP>;
var<private> d_gammas: array<vec4<f32>, GROUP>;
var<private> d_betas: array<vec4<f32>, GROUP>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let lane = invocation % LANES;
  let slot = workgroup_of(grid) * SLOTS_OF_WORKGROUP + invocation / LANES;
  let slots = info.batch.z;
  load_gammas(lane);
  for (var i = 0u; i < GROUP; i++) {
    d_gammas[i] = vec4<f32>(0.0);
    d_betas[i] = vec4<f32>(0.0);
  }
  for (var first = 0u; first < info.batch.y; first += slots) {
    let own = first + slot;
    let real = slot < slots && own < info.batch.y;
    let row = min(own, info.batch.y - 1u);
    let scale = load_normalised(x_row(0u, 0u, row), lane, invocation);
    let given = d_y_row(0u, 0u, row);
    var sums = vec2<f32>(0.0);
    for (var i = 0u; i < GROUP; i++) {
      let c = lane + i * LANES;
      d_vectors[i] = vec4<f32>(0.0);
      if (real && c < D4) { d_vectors[i] = d_y_at(given, c); }
      d_gammas[i] += d_vectors[i] * normalised[i];
      d_betas[i] += d_vectors[i];
      d_vectors[i] *= gammas[i];
      sums += vec2<f32>(dot(d_vectors[i], vec4<f32>(1.0)), dot(d_vectors[i], normalised[i]));
    }
    let means = row_sum(sums, invocation) / f32(D);
    if (real) {
      let to = d_x_row(0u, 0u, row);
      for (var i = 0u; i < GROUP; i++) {
        let c = lane + i * LANES;
        if (c < D4) { d_x_put(to, c, {{ added }} + (d_vectors[i] - means.x - normalised[i] * means.y) * scale); }
      }
    }
  }
  if (slot < slots) {
    for (var i = 0u; i < GROUP; i++) {
      let c = lane + i * LANES;
      if (c < D4) {
        parts[slot * 2u * D4 + c] = d_gammas[i];
        parts[(slot * 2u + 1u) * D4 + c] = d_betas[i];
      }
    }
  }
}
