// A linear layer, Y = X W + b or without b, added to other rows where there are some.

// The weights of four channels, from vector `c`, for a vector of columns.
fn weights_of(c: u32, column: u32) -> mat4x4<f32> {
  let last = info.keys.x - 1u;
  return mat4x4<f32>(
    weight_at(weight_row(0u, 0u, 4u * c), column),
    weight_at(weight_row(0u, 0u, min(4u * c + 1u, last)), column),
    weight_at(weight_row(0u, 0u, min(4u * c + 2u, last)), column),
    weight_at(weight_row(0u, 0u, min(4u * c + 3u, last)), column),
  );
}

fn finished(sum: vec4<f32>, row: u32, c: u32) -> vec4<f32> {
  return {{ added }} + sum + {{ linear_bias }};
}
