
fn {{ name }}_put(row: u32, c: u32, channels: vec4<f32>) {
  let stride = info.strides[{{ binding }}].w;
  let at = row + 4u * c * stride;
  {{ name }}[at] = {{ element }}(channels.x);
  if (4u * c + 1u < {{ channels }}u) { {{ name }}[at + stride] = {{ element }}(channels.y); }
  if (4u * c + 2u < {{ channels }}u) { {{ name }}[at + 2u * stride] = {{ element }}(channels.z); }
  if (4u * c + 3u < {{ channels }}u) { {{ name }}[at + 3u * stride] = {{ element }}(channels.w); }
}
