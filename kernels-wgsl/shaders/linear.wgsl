// A linear layer, Y = X W + b or without b, added to other rows where there are some.

// The weight's rows for the channels from vector `c` on, as they are.
fn stage_weight(c: u32, first_column: u32, channels4: u32, invocation: u32) {
  for (var i = invocation; i < 4u * STAGED * COLUMNS; i += INVOCATIONS) {
    let row = 4u * c + i / COLUMNS;
    let column = first_column + i % COLUMNS;
    var vector = vec4<f32>(0.0);
    if (row < info.keys.x && column < D4) { vector = weight_at(weight_row(0u, 0u, row), column); }
    right[i] = vector;
  }
}

// Adds what four channels of the rows, the staged vector `k`, contribute.
fn multiply(
  given: array<vec4<f32>, GROUP * VECTORS>, of_rows: array<vec4<f32>, GROUP>, k: u32, column: u32
) -> array<vec4<f32>, GROUP * VECTORS> {
  var sums = given;
  var rows = of_rows;
  for (var channel = 0u; channel < 4u; channel++) {
    for (var own = 0u; own < VECTORS; own++) {
      let weights = right[(4u * k + channel) * COLUMNS + column + own * LANES];
      for (var i = 0u; i < GROUP; i++) { sums[i * VECTORS + own] += rows[i][channel] * weights; }
    }
  }
  return sums;
}

fn finished(sum: vec4<f32>, row: u32, c: u32) -> vec4<f32> {
  return {{ added }} + sum + {{ linear_bias }};
}
