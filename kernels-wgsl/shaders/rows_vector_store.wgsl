
fn {{ name }}_put(row: u32, c: u32, channels: vec4<f32>) {
  {{ name }}[row + c] = vec4<{{ element }}>(channels);
}
