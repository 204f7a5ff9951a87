// The exact GELU, x Φ(x): an invocation a vector of a row.
@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let row = i / D4;
  let c = i % D4;
  let x = x_at(x_row(0u, 0u, row), c);
  y_put(y_row(0u, 0u, row), c, x * normal(x).share);
}
