// Adds up what `layer_norm_backward` left: a workgroup a vector of γ's gradient, then of β's.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding({{ d_gamma_binding }}) var<storage, read_write> d_gamma: array<{{ element }}>;
@group(0) @binding({{ d_beta_binding }}) var<storage, read_write> d_beta: array<{{ element }}>;

const D: u32 = {{ d }}u;

var<workgroup> sums: array<vec4<f32>, INVOCATIONS>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let vector = min(workgroup_of(grid), 2u * D4 - 1u);
  var sum = vec4<f32>(0.0);
  for (var slot = invocation; slot < info.batch.z; slot += INVOCATIONS) {
    sum += parts[slot * 2u * D4 + vector];
  }
  sums[invocation] = sum;
  for (var half = INVOCATIONS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (invocation < half) { sums[invocation] += sums[invocation + half]; }
  }
  if (invocation > 0u || workgroup_of(grid) >= 2u * D4) { return; }
  let c = vector % D4;
  for (var part = 0u; part < 4u; part++) {
    let channel = 4u * c + part;
    if (channel < D) {
      if (vector < D4) { d_gamma[channel] = {{ element }}(sums[0][part]); }
      else { d_beta[channel] = {{ element }}(sums[0][part]); }
    }
  }
}
