// LayerNorm of every row: x̂ γ + β.
@group(0) @binding({{ beta_binding }}) var<storage, read_write> beta: array<{{ element }}>;

var<private> betas: array<vec4<f32>, GROUP>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let lane = invocation % LANES;
  let slot = workgroup_of(grid) * SLOTS_OF_WORKGROUP + invocation / LANES;
  let slots = info.batch.z;
  load_gammas(lane);
  for (var i = 0u; i < GROUP; i++) {
    let c = lane + i * LANES;
    for (var part = 0u; part < 4u; part++) {
      betas[i][part] = f32(beta[min(4u * c + part, D - 1u)]);
    }
  }
  // All lanes go through all rounds, since they meet at barriers.
  for (var first = 0u; first < info.batch.y; first += slots) {
    let own = first + slot;
    let row = min(own, info.batch.y - 1u);
    load_normalised(x_row(0u, 0u, row), lane, invocation);
    if (slot < slots && own < info.batch.y) {
      let to = y_row(0u, 0u, row);
      for (var i = 0u; i < GROUP; i++) {
        let c = lane + i * LANES;
        if (c < D4) { y_put(to, c, normalised[i] * gammas[i] + betas[i]); }
      }
    }
  }
}
