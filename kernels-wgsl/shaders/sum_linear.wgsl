// Adds up the parts that `linear_backward` left: LANES vectors of the gradients a workgroup.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let inputs = info.keys.x;
  let vectors = (inputs + 1u) * D4;
  let vector = workgroup_of(grid) * LANES + invocation % LANES;
  let slot = invocation / LANES;
  var sum = vec4<f32>(0.0);
  if (vector < vectors) {
    for (var part = slot; part < info.tasks.x; part += SLOTS) {
      sum += parts[part * vectors + vector];
    }
  }
  sum = sum_of_slots(sum, invocation);
  if (slot > 0u || vector >= vectors) { return; }
  let row = vector / D4;
  if (row < inputs) {
    d_weight_put(d_weight_row(0u, 0u, row), vector % D4, sum);
  } else {
    d_bias_put(d_bias_row(0u, 0u, 0u), vector % D4, sum);
  }
}
