// Products of rows with the weight of a linear layer, `[inputs, outputs]`. A workgroup computes a tile
// of 64 rows and 64 columns: the rows' and the weight's vectors are staged in workgroup memory, a few
// channels at a time, and an invocation keeps its entries in registers: of GROUP rows VECTORS vectors.

// Vectors of channels that are staged of a row at a time. One more spreads the rows over the banks of
// the memory.
const STAGED: u32 = 4u;
const STRIDE: u32 = 5u;
// Rows of a tile, vectors of its columns, and how many of these an invocation has, which are as far
// apart as there are invocations side by side.
const SIDE: u32 = 64u;
const COLUMNS: u32 = 16u;
const LANES: u32 = {{ lanes }}u;
const VECTORS: u32 = COLUMNS / LANES;

var<workgroup> left: array<vec4<f32>, SIDE * STRIDE>;
var<workgroup> right: array<vec4<f32>, SIDE * STRIDE>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let across = (D4 + COLUMNS - 1u) / COLUMNS;
  let first_row = workgroup_of(grid) / across * SIDE;
  let first_column = workgroup_of(grid) % across * COLUMNS;
  let own_row = invocation / LANES * GROUP;
  let own_column = invocation % LANES;
  let channels4 = (info.keys.x + 3u) / 4u;
  var sums = array<vec4<f32>, GROUP * VECTORS>();
  for (var c = 0u; c < channels4; c += STAGED) {
    workgroupBarrier();
    for (var i = invocation; i < SIDE * STAGED; i += INVOCATIONS) {
      let row = first_row + i / STAGED;
      let vector = c + i % STAGED;
      var x = vec4<f32>(0.0);
      if (row < info.batch.y && vector < channels4) { x = x_at(x_row(0u, 0u, row), vector); }
      left[i / STAGED * STRIDE + i % STAGED] = x;
    }
    stage_weight(c, first_column, channels4, invocation);
    workgroupBarrier();
    for (var k = 0u; k < STAGED; k++) {
      var rows: array<vec4<f32>, GROUP>;
      for (var i = 0u; i < GROUP; i++) { rows[i] = left[(own_row + i) * STRIDE + k]; }
      sums = multiply(sums, rows, k, own_column);
    }
  }
  for (var own = 0u; own < VECTORS; own++) {
    let column = first_column + own_column + own * LANES;
    if (column < D4) {
      for (var i = 0u; i < GROUP; i++) {
        let row = first_row + own_row + i;
        if (row < info.batch.y) {
          y_put(y_row(0u, 0u, row), column, finished(sums[i * VECTORS + own], row, column));
        }
      }
    }
  }
}
