// The gradient of a table of positions: an invocation a vector of a position, which adds up the
// rows that its documents have there.
@group(0) @binding({{ starts_binding }}) var<storage, read_write> starts: array<u32>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let position = i / D4;
  let c = i % D4;
  var sum = vec4<f32>(0.0);
  for (var document = 0u; document < info.tasks.x; document++) {
    let place = starts[document] + position;
    if (place < starts[document + 1u]) { sum += d_output_at(d_output_row(0u, 0u, place), c); }
  }
  d_table_put(d_table_row(0u, 0u, position), c, sum);
}
