// Rows of a tensor `[.., .., .., d]` of any strides and any d: the last vector is filled with zeros.
@group(0) @binding({{ binding }}) var<storage, read_write> {{ name }}: array<{{ element }}>;

fn {{ name }}_row(row: u32, head: u32, token: u32) -> u32 {
  let strides = info.strides[{{ binding }}];
  return row * strides.x + head * strides.y + token * strides.z;
}
