// Adds up what `attend_dlandmarks` left, task by task: an invocation a vector of a landmark's
// gradient.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let vectors = info.batch.x * info.seen.x * 2u * D4;
  let document = i / vectors;
  let tasks = tasks_of(document);
  var sum = vec4<f32>(0.0);
  for (var task = tasks.x; task < tasks.y; task++) {
    sum += parts[task * vectors + i % vectors];
  }
  let c = i % (2u * D4);
  let landmark = i / (2u * D4) % info.seen.x;
  let head = i / (2u * D4) / info.seen.x % info.batch.x;
  if (c < D4) {
    d_key_put(d_key_row(document, head, landmark), c, sum);
  } else {
    d_value_put(d_value_row(document, head, landmark), c - D4, sum);
  }
}
