// Gradients of a class row's own query, key and value, with the parts of the query's that
// `class_row_backward` left: with p = exp(own score − L), s = p (dO·v − D): dq = Σ parts + s k, dk = s q,
// dv = p dO. An invocation a vector of a row.
@group(0) @binding({{ readings_binding }}) var<storage, read_write> readings: array<vec4<f32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let c = i % D4;
  let row = i / D4;
  let head = row % info.batch.x;
  let document = row / info.batch.x;
  let given = d_output_row(document, head, 0u);
  let reading = row * (4u * D4 + 1u);
  let tail = readings[reading + 4u * D4];
  var d_weight = 0.0;
  for (var v = 0u; v < D4; v++) {
    d_weight += dot(d_output_at(given, v), readings[reading + 3u * D4 + v] - readings[reading + v]);
  }
  let weight = exp(min(tail.y - tail.x, 0.0));
  let d_score = weight * d_weight;
  var d_query = d_score * readings[reading + 2u * D4 + c];
  let tasks = tasks_of(document);
  for (var task = tasks.x; task < tasks.y; task++) {
    d_query += parts[(task * info.batch.x + head) * D4 + c];
  }
  d_query_put(d_query_row(document, head, 0u), c, d_query);
  d_key_put(d_key_row(document, head, 0u), c, d_score * readings[reading + D4 + c]);
  d_value_put(d_value_row(document, head, 0u), c, weight * d_output_at(given, c));
}
