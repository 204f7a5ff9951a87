// Copies relative keys `[heads, entries, channels]` into the context: an invocation a vector.

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let entry = i / D4;
  let row = relative_key_row(0u, entry / info.chunks.w, entry % info.chunks.w);
  context[info.tasks.z + i] = bitcast<vec4<u32>>(relative_key_at(row, i % D4));
}
