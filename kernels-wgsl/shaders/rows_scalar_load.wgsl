
fn {{ name }}_at(row: u32, c: u32) -> vec4<f32> {
  let stride = info.strides[{{ binding }}].w;
  let at = row + 4u * c * stride;
  var channels = vec4<f32>(0.0);
  channels.x = f32({{ name }}[at]);
  if (4u * c + 1u < {{ channels }}u) { channels.y = f32({{ name }}[at + stride]); }
  if (4u * c + 2u < {{ channels }}u) { channels.z = f32({{ name }}[at + 2u * stride]); }
  if (4u * c + 3u < {{ channels }}u) { channels.w = f32({{ name }}[at + 3u * stride]); }
  return channels;
}
