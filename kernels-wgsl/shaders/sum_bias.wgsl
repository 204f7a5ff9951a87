// Adds up what `attend_dbias` left: an invocation an entry of the table `[heads, offsets]`.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<f32>;
@group(0) @binding({{ d_bias_binding }}) var<storage, read_write> d_bias: array<{{ element }}>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let entries = info.batch.x * info.keys.z;
  if (i >= entries) { return; }
  var sum = 0.0;
  for (var part = i; part < info.batch.z * entries; part += entries) {
    sum += parts[part];
  }
  d_bias[i] = {{ element }}(sum);
}
