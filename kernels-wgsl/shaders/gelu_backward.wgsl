// The exact GELU's gradient, dY (Φ(x) + x φ(x)): an invocation a vector of a row.
const INVERSE_ROOT_TWO_PI: f32 = 0.39894228;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let row = i / D4;
  let c = i % D4;
  let x = x_at(x_row(0u, 0u, row), c);
  let distribution = normal(x);
  let slope = distribution.share + INVERSE_ROOT_TWO_PI * x * distribution.power;
  d_x_put(d_x_row(0u, 0u, row), c, d_y_at(d_y_row(0u, 0u, row), c) * slope);
}
