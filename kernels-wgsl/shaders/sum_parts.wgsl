// Adds up what `attend_dlandmarks` left, task by task: an invocation a vector of a landmark's
// gradient.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let c = i % (2u * D4);
  let rows = info.batch.x * info.seen.x;
  let row = i / (2u * D4) % rows;
  let document = i / (2u * D4) / rows;
  let tasks = tasks_of(document);
  var sum = vec4<f32>(0.0);
  for (var task = tasks.x; task < tasks.y; task++) {
    sum += parts[(task * rows + row) * {{ landmark_part }}u + c];
  }
  let landmark = row % info.seen.x;
  let head = row / info.seen.x;
  if (c < D4) {
    d_key_put(d_key_row(document, head, landmark), c, sum);
  } else {
    d_value_put(d_value_row(document, head, landmark), c - D4, sum);
  }
}
