// Products of rows with the weight of a linear layer, where a processor plays the GPU: an invocation
// computes GROUP rows of some vectors, and waits for nobody.
const VECTORS: u32 = 4u;

var<private> sums: array<vec4<f32>, GROUP * VECTORS>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let groups = (info.batch.y + GROUP - 1u) / GROUP;
  let entry = entry_of(grid, invocation);
  let first_row = entry % groups * GROUP;
  let first_column = entry / groups * VECTORS;
  if (first_column >= D4) { return; }
  let channels4 = (info.keys.x + 3u) / 4u;
  var starts: array<u32, GROUP>;
  for (var i = 0u; i < GROUP; i++) { starts[i] = x_row(0u, 0u, min(first_row + i, info.batch.y - 1u)); }
  for (var c = 0u; c < channels4; c++) {
    var rows: array<vec4<f32>, GROUP>;
    for (var i = 0u; i < GROUP; i++) { rows[i] = x_at(starts[i], c); }
    for (var own = 0u; own < VECTORS; own++) {
      let weights = weights_of(c, min(first_column + own, D4 - 1u));
      for (var i = 0u; i < GROUP; i++) { sums[i * VECTORS + own] += weights * rows[i]; }
    }
  }
  for (var own = 0u; own < VECTORS; own++) {
    let column = first_column + own;
    if (column < D4) {
      for (var i = 0u; i < GROUP; i++) {
        let row = first_row + i;
        if (row < info.batch.y) { y_put(y_row(0u, 0u, row), column, finished(sums[i * VECTORS + own], row, column)); }
      }
    }
  }
}
