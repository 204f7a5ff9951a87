// Adds up what `attend_dtables` left for the bias: an invocation an entry of the table `[heads, entries]`.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<f32>;
@group(0) @binding({{ d_bias_binding }}) var<storage, read_write> d_bias: array<{{ element }}>;

const RELATIVE: bool = {{ relative }};

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let entries = info.batch.x * info.chunks.w;
  if (i >= entries) { return; }
  // Numbers that were left for an entry, this table's first.
  let part_length = select(1u, 4u * D4 + 1u, RELATIVE);
  var sum = 0.0;
  for (var part = i; part < info.batch.z * entries; part += entries) {
    sum += parts[part * part_length];
  }
  d_bias[i] = {{ element }}(sum);
}
