// What the backward pass needs to know of a query: (log-sum-exp, D = Σ dO ∘ O). A padded query
// gets a log-sum-exp above all scores, so that all its probabilities come out as 0.
@group(0) @binding({{ log_sum_exp_binding }}) var<storage, read_write> log_sum_exp: array<f32>;
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  // Neighbours are heads of one token, whose rows usually lie side by side.
  let head = i % info.batch.x;
  let token = i / info.batch.x % info.batch.y;
  let row = i / info.batch.x / info.batch.y;
  let at = (row * info.batch.x + head) * info.batch.y + token;
  var result = vec2<f32>(-HIDDEN, 0.0);
  let place = Place(0u, row, 0u, 0u, info.batch.y, info.batch.y);
  if (is_real(place, token)) {
    let d_output = d_output_row(row, head, token);
    let output = output_row(row, head, token);
    var delta = 0.0;
    for (var c = 0u; c < D4; c++) {
      delta += dot(d_output_at(d_output, c), output_at(output, c));
    }
    result = vec2<f32>(log_sum_exp[at], delta);
  }
  stats[at] = result;
}
