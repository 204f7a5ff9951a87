
fn {{ name }}_put(row: u32, c: u32, value: vec4<f32>) {
  let stride = info.strides[{{ slot }}].w;
  let at = row + 4u * c * stride;
  {{ name }}[at] = {{ element }}(value.x);
  if (4u * c + 1u < {{ d }}u) { {{ name }}[at + stride] = {{ element }}(value.y); }
  if (4u * c + 2u < {{ d }}u) { {{ name }}[at + 2u * stride] = {{ element }}(value.z); }
  if (4u * c + 3u < {{ d }}u) { {{ name }}[at + 3u * stride] = {{ element }}(value.w); }
}
