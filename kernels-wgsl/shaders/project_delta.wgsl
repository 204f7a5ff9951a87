// What the backward pass of the projection needs to know of a landmark, into the context: its
// gradient as vectors [dK̄ | dV̄], then (L, D − dL) with D = Σ dK̄ ∘ K̄ + dV̄ ∘ V̄. An invocation a row
// of 2·d + 1 channels.
@group(0) @binding({{ d_output_binding }}) var<storage, read_write> d_output: array<{{ element }}>;
@group(0) @binding({{ output_binding }}) var<storage, read_write> output: array<{{ element }}>;

fn channel_of(row: u32, part: u32, channel: u32) -> vec2<f32> {
  if (channel >= {{ d }}u) { return vec2<f32>(0.0); }
  let at = part * {{ d }}u + channel;
  return vec2<f32>(f32(d_output[row + at]), f32(output[row + at]));
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let row = i * (2u * {{ d }}u + 1u);
  let to = i * (2u * D4 + 1u);
  var delta = 0.0;
  for (var part = 0u; part < 2u; part++) {
    for (var c = 0u; c < D4; c++) {
      let x = channel_of(row, part, 4u * c);
      let y = channel_of(row, part, 4u * c + 1u);
      let z = channel_of(row, part, 4u * c + 2u);
      let w = channel_of(row, part, 4u * c + 3u);
      delta += x.x * x.y + y.x * y.y + z.x * z.y + w.x * w.y;
      context[to + part * D4 + c] = bitcast<vec4<u32>>(vec4<f32>(x.x, y.x, z.x, w.x));
    }
  }
  let last = row + 2u * {{ d }}u;
  let tail = vec4<f32>(f32(output[last]), delta - f32(d_output[last]), 0.0, 0.0);
  context[to + 2u * D4] = bitcast<vec4<u32>>(tail);
}
