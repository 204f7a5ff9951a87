// Adds up what `attend_dlandmarks` left for the landmarks' bias `[documents, heads, landmarks]`, task by
// task: an invocation an entry.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding({{ d_bias_binding }}) var<storage, read_write> d_bias: array<{{ element }}>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let rows = info.batch.x * info.seen.x;
  let tasks = tasks_of(i / rows);
  var sum = 0.0;
  for (var task = tasks.x; task < tasks.y; task++) {
    sum += parts[(task * rows + i % rows) * {{ landmark_part }}u + 2u * D4].x;
  }
  d_bias[i] = {{ element }}(sum);
}
