// The gradient of a linear layer for its input, dX = dY Wᵀ, added to another where there is one.

// The staged vectors of the weight's rows for the tile's columns, which are the layer's inputs: that of
// input 4 a + b lies in the place of row 16 b + a, so that neighbours find theirs in other banks.
fn stage_weight(c: u32, first_column: u32, channels4: u32, invocation: u32) {
  for (var i = invocation; i < SIDE * STAGED; i += INVOCATIONS) {
    let input = i / STAGED;
    let row = 4u * first_column + input;
    let column = c + i % STAGED;
    var vector = vec4<f32>(0.0);
    if (row < {{ d }}u && column < channels4) { vector = weight_at(weight_row(0u, 0u, row), column); }
    right[(input % 4u * COLUMNS + input / 4u) * STRIDE + i % STAGED] = vector;
  }
}

// Adds what four channels of the rows, the staged vector `k`, contribute.
fn multiply(
  given: array<vec4<f32>, GROUP * VECTORS>, of_rows: array<vec4<f32>, GROUP>, k: u32, column: u32
) -> array<vec4<f32>, GROUP * VECTORS> {
  var sums = given;
  var rows = of_rows;
  for (var own = 0u; own < VECTORS; own++) {
    let at = (column + own * LANES) * STRIDE + k;
    let w0 = right[at];
    let w1 = right[at + COLUMNS * STRIDE];
    let w2 = right[at + 2u * COLUMNS * STRIDE];
    let w3 = right[at + 3u * COLUMNS * STRIDE];
    for (var i = 0u; i < GROUP; i++) {
      let x = rows[i];
      sums[i * VECTORS + own] += vec4<f32>(dot(x, w0), dot(x, w1), dot(x, w2), dot(x, w3));
    }
  }
  return sums;
}

fn finished(sum: vec4<f32>, row: u32, c: u32) -> vec4<f32> {
  return {{ added }} + sum;
}
