// Landmarks of each document from the parts of its tasks, merged by log-sum-exp: rows
// [P·K | P·V | log Σ exp score] of 2·d + 1 channels. An invocation a vector of a row.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding({{ output_binding }}) var<storage, read_write> output: array<{{ element }}>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let vectors = 2u * D4 + 1u;
  let c = i % (2u * D4);
  let landmark = i / (2u * D4);
  let rows = info.batch.x * info.seen.x;
  let document = landmark / rows;
  let tasks = tasks_of(document);
  var top = HIDDEN;
  for (var task = tasks.x; task < tasks.y; task++) {
    top = max(top, parts[(task * rows + landmark % rows) * vectors + 2u * D4].x);
  }
  var sum = vec4<f32>(0.0);
  var total = 0.0;
  for (var task = tasks.x; task < tasks.y; task++) {
    let part = (task * rows + landmark % rows) * vectors;
    let own = parts[part + 2u * D4];
    let share = exp(own.x - top);
    total += share * own.y;
    sum += share * parts[part + c];
  }
  let empty = total == 0.0;
  let result = sum * select(1.0 / total, 0.0, empty);
  let row = landmark * (2u * {{ d }}u + 1u);
  let channel = 4u * (c % D4);
  let at = row + select({{ d }}u, 0u, c < D4) + channel;
  output[at] = {{ element }}(result.x);
  if (channel + 1u < {{ d }}u) { output[at + 1u] = {{ element }}(result.y); }
  if (channel + 2u < {{ d }}u) { output[at + 2u] = {{ element }}(result.z); }
  if (channel + 3u < {{ d }}u) { output[at + 3u] = {{ element }}(result.w); }
  if (c == 0u) {
    output[row + 2u * {{ d }}u] = {{ element }}(select(top + log(total), 0.0, empty));
  }
}
