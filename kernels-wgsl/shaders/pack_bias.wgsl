// Copies a bias into the context as float32, four entries an invocation: `[documents, heads, columns]`, of
// tables by offset for all documents at once.
@group(0) @binding({{ bias_binding }}) var<storage, read_write> bias: array<{{ element }}>;

fn bias_at(entry: u32) -> f32 {
  let columns = info.chunks.w;
  let strides = info.strides[0];
  let i = min(entry, info.tasks.y - 1u);
  let row = i / columns;
  return f32(bias[row / info.batch.x * strides.x + row % info.batch.x * strides.y + i % columns * strides.z]);
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let entries = vec4<f32>(bias_at(4u * i), bias_at(4u * i + 1u), bias_at(4u * i + 2u), bias_at(4u * i + 3u));
  context[(info.context.x >> 2u) + i] = bitcast<vec4<u32>>(entries);
}
