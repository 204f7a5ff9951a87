// Gradients of a linear layer for its weight, Xᵀ dY, and its bias, the sum of dY's rows. A workgroup
// sums a tile of 64 × 64 entries of dW over a split of the rows: these are staged in workgroup memory,
// a few at a time, and an invocation adds their outer products to its 4 × 8 entries, in registers.
// A part is `[inputs + 1, outputs]`, the last row that of the bias.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

// Rows that are staged at a time.
const STAGED: u32 = 16u;
// Vectors of a tile's side; the columns of an invocation are two vectors, HALF apart.
const SIDE: u32 = 16u;
const HALF: u32 = 8u;

var<workgroup> staged_x: array<vec4<f32>, STAGED * SIDE>;
var<workgroup> staged_d: array<vec4<f32>, STAGED * SIDE>;

fn put(part: u32, row: u32, column: u32, first: vec4<f32>, second: vec4<f32>) {
  let at = (part * (info.keys.x + 1u) + row) * D4;
  if (column < D4) { parts[at + column] = first; }
  if (column + HALF < D4) { parts[at + column + HALF] = second; }
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let inputs = info.keys.x;
  let inputs4 = (inputs + 3u) / 4u;
  // Tiles of dW side by side, and all of them.
  let across = (D4 + SIDE - 1u) / SIDE;
  let tiles = across * ((inputs4 + SIDE - 1u) / SIDE);
  let part = workgroup_of(grid) / tiles;
  let tile = workgroup_of(grid) % tiles;
  let tile_row = tile / across * SIDE;
  let tile_column = tile % across * SIDE;
  let first = part * info.tasks.y;
  let end = min(first + info.tasks.y, info.batch.y);
  // The invocation's vectors of the tile's rows and columns.
  let own_row = invocation / HALF;
  let own_column = invocation % HALF;
  let sums_bias = tile_row == 0u && own_row == 0u;

  var a0 = vec4<f32>(0.0);
  var a1 = vec4<f32>(0.0);
  var a2 = vec4<f32>(0.0);
  var a3 = vec4<f32>(0.0);
  var b0 = vec4<f32>(0.0);
  var b1 = vec4<f32>(0.0);
  var b2 = vec4<f32>(0.0);
  var b3 = vec4<f32>(0.0);
  var bias_a = vec4<f32>(0.0);
  var bias_b = vec4<f32>(0.0);
  for (var step = 0u; step < info.tasks.y; step += STAGED) {
    workgroupBarrier();
    for (var i = invocation; i < STAGED * SIDE; i += INVOCATIONS) {
      let row = first + step + i / SIDE;
      let x_vector = tile_row + i % SIDE;
      let d_vector = tile_column + i % SIDE;
      var x = vec4<f32>(0.0);
      var d = vec4<f32>(0.0);
      if (row < end && x_vector < inputs4) { x = x_at(x_row(0u, 0u, row), x_vector); }
      if (row < end && d_vector < D4) { d = d_y_at(d_y_row(0u, 0u, row), d_vector); }
      staged_x[i] = x;
      staged_d[i] = d;
    }
    workgroupBarrier();
    for (var row = 0u; row < STAGED; row++) {
      let x = staged_x[row * SIDE + own_row];
      let a = staged_d[row * SIDE + own_column];
      let b = staged_d[row * SIDE + own_column + HALF];
      a0 += x.x * a;
      a1 += x.y * a;
      a2 += x.z * a;
      a3 += x.w * a;
      b0 += x.x * b;
      b1 += x.y * b;
      b2 += x.z * b;
      b3 += x.w * b;
      if (sums_bias) {
        bias_a += a;
        bias_b += b;
      }
    }
  }
  let row = 4u * (tile_row + own_row);
  let column = tile_column + own_column;
  if (part >= info.tasks.x) { return; }
  if (row < inputs) { put(part, row, column, a0, b0); }
  if (row + 1u < inputs) { put(part, row + 1u, column, a1, b1); }
  if (row + 2u < inputs) { put(part, row + 2u, column, a2, b2); }
  if (row + 3u < inputs) { put(part, row + 3u, column, a3, b3); }
  if (sums_bias) { put(part, inputs, column, bias_a, bias_b); }
}
