// Rows of a tensor `[.., .., .., d]` whose channels lie side by side, four to a vector.
@group(0) @binding({{ binding }}) var<storage, read_write> {{ name }}: array<vec4<{{ element }}>>;

fn {{ name }}_row(row: u32, head: u32, token: u32) -> u32 {
  let strides = info.strides[{{ binding }}];
  return (row * strides.x + head * strides.y + token * strides.z) >> 2u;
}
