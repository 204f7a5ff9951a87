// The gradient of a linear layer for its input, dX = dY Wᵀ, added to another where there is one.

// The weights of four channels, from vector `c`, for a vector of columns, which are the layer's inputs.
fn weights_of(c: u32, column: u32) -> mat4x4<f32> {
  let last = {{ d }}u - 1u;
  return transpose(mat4x4<f32>(
    weight_at(weight_row(0u, 0u, 4u * column), c),
    weight_at(weight_row(0u, 0u, min(4u * column + 1u, last)), c),
    weight_at(weight_row(0u, 0u, min(4u * column + 2u, last)), c),
    weight_at(weight_row(0u, 0u, min(4u * column + 3u, last)), c),
  ));
}

fn finished(sum: vec4<f32>, row: u32, c: u32) -> vec4<f32> {
  return {{ added }} + sum;
}
