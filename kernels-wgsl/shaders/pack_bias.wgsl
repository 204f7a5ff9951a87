// Copies the bias table `[heads, offsets]` into the context as float32, four entries an invocation.
@group(0) @binding({{ bias_binding }}) var<storage, read_write> bias: array<{{ element }}>;

fn bias_at(entry: u32) -> f32 {
  let offsets = info.keys.z;
  let strides = info.strides[0];
  let last = info.batch.x * offsets - 1u;
  let i = min(entry, last);
  return f32(bias[i / offsets * strides.x + i % offsets * strides.y]);
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let entries = vec4<f32>(bias_at(4u * i), bias_at(4u * i + 1u), bias_at(4u * i + 2u), bias_at(4u * i + 3u));
  context[(info.context.x >> 2u) + i] = bitcast<vec4<u32>>(entries);
}
