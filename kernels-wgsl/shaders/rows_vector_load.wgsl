
fn {{ name }}_at(row: u32, c: u32) -> vec4<f32> {
  return vec4<f32>({{ name }}[row + c]);
}
