// Adds up what `attend_dtables` left for the relative keys `[heads, entries, channels]`: an invocation
// a vector.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let entries = info.batch.x * info.chunks.w;
  let entry = i / D4;
  if (entry >= entries) { return; }
  let c = i % D4;
  var sum = vec4<f32>(0.0);
  for (var task = 0u; task < info.batch.z; task++) {
    let part = (task * entries + entry) * (4u * D4 + 1u) + 1u + 4u * c;
    sum += vec4<f32>(parts[part], parts[part + 1u], parts[part + 2u], parts[part + 3u]);
  }
  d_relative_key_put(d_relative_key_row(0u, entry / info.chunks.w, entry % info.chunks.w), c, sum);
}
