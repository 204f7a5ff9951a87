// What a class row reads, from the parts of its document's tasks and its own key and value, merged by
// log-sum-exp; 0 for a document without a real token. An invocation a vector of a row.
//
// For the backward pass, `readings` gets of each row what was read, query, key and value, and a vector
// (log-sum-exp, own score), all in float32. Without a real token the log-sum-exp lies above all scores,
// so that all probabilities come out as 0.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding({{ readings_binding }}) var<storage, read_write> readings: array<vec4<f32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let c = i % D4;
  let row = i / D4;
  let head = row % info.batch.x;
  let document = row / info.batch.x;
  let query = query_row(document, head, 0u);
  let key = key_row(document, head, 0u);
  var own = 0.0;
  for (var v = 0u; v < D4; v++) { own += dot(query_at(query, v), key_at(key, v)); }
  let tasks = tasks_of(document);
  var top = own;
  var real = false;
  for (var task = tasks.x; task < tasks.y; task++) {
    let part = parts[(task * info.batch.x + head) * (D4 + 1u) + D4];
    top = max(top, part.x);
    // What is not a number stays none.
    real = real || !(part.y == 0.0);
  }
  let value = value_at(value_row(document, head, 0u), c);
  var total = exp(own - top);
  var sum = total * value;
  for (var task = tasks.x; task < tasks.y; task++) {
    let at = (task * info.batch.x + head) * (D4 + 1u);
    let part = parts[at + D4];
    let share = exp(part.x - top);
    total += share * part.y;
    sum += share * parts[at + c];
  }
  let result = select(vec4<f32>(0.0), sum / total, real);
  output_put(output_row(document, head, 0u), c, result);
  let to = row * (4u * D4 + 1u);
  readings[to + c] = result;
  readings[to + D4 + c] = query_at(query, c);
  readings[to + 2u * D4 + c] = key_at(key, c);
  readings[to + 3u * D4 + c] = value;
  if (c == 0u) { readings[to + 4u * D4] = vec4<f32>(select(-HIDDEN, top + log(total), real), own, 0.0, 0.0); }
}
