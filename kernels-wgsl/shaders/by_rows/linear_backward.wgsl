// Gradients of a linear layer for its weight, Xᵀ dY, and its bias, the sum of dY's rows, where a processor
// plays the GPU: an invocation sums 4 × 16 entries of dW over a split of the rows, and waits for nobody.
// A part is `[inputs + 1, outputs]`, the last row that of the bias.
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

const VECTORS: u32 = 4u;

// Four rows of dW, a vector after the other, and the bias.
var<private> sums: array<vec4<f32>, 4u * VECTORS>;
var<private> bias: array<vec4<f32>, VECTORS>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let inputs = info.keys.x;
  let inputs4 = (inputs + 3u) / 4u;
  let across = (D4 + VECTORS - 1u) / VECTORS;
  let entry = entry_of(grid, invocation);
  let x_vector = entry % inputs4;
  let first_column = entry / inputs4 % across * VECTORS;
  let part = entry / inputs4 / across;
  if (part >= info.tasks.x) { return; }
  let first = part * info.tasks.y;
  let end = min(first + info.tasks.y, info.batch.y);
  for (var row = first; row < end; row++) {
    let x = x_at(x_row(0u, 0u, row), x_vector);
    let d_start = d_y_row(0u, 0u, row);
    for (var k = 0u; k < VECTORS; k++) {
      let d = d_y_at(d_start, min(first_column + k, D4 - 1u));
      sums[k] += x.x * d;
      sums[VECTORS + k] += x.y * d;
      sums[2u * VECTORS + k] += x.z * d;
      sums[3u * VECTORS + k] += x.w * d;
      bias[k] += d;
    }
  }
  let rows = part * (inputs + 1u);
  for (var k = 0u; k < VECTORS; k++) {
    let column = first_column + k;
    if (column < D4) {
      for (var i = 0u; i < 4u; i++) {
        let row = 4u * x_vector + i;
        if (row < inputs) { parts[(rows + row) * D4 + column] = sums[i * VECTORS + k]; }
      }
      if (x_vector == 0u) { parts[(rows + inputs) * D4 + column] = bias[k]; }
    }
  }
}
