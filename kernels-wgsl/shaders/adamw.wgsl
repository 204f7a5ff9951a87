// AdamW of several parameters: an invocation an entry. Of each parameter the strides say the number of
// its first entry among all and of the one behind its last, where its results begin, and how far
// the means lie behind the parameter, the second behind the first.
@group(0) @binding({{ updated_binding }}) var<storage, read_write> updated: array<f32>;
{{ declarations }}
struct Entry {
  parameter: f32,
  gradient: f32,
  first: f32,
  second: f32,
  to: u32,
  apart: u32,
}

fn entry(i: u32) -> Entry {
{{ parameters }}  return Entry();
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let e = entry(i);
  // 1 - lr λ, 1 - β₁, β₂, 1 - β₂
  let rates = bitcast<vec4<f32>>(info.context);
  // The step's size, √(1 - β₂ᵗ), ε
  let scales = bitcast<vec4<f32>>(info.dropout);
  let first = e.first + (e.gradient - e.first) * rates.y;
  let second = e.second * rates.z + e.gradient * e.gradient * rates.w;
  let update = scales.x * first / (sqrt(second) / scales.y + scales.z);
  updated[e.to] = e.parameter * rates.x - update;
  updated[e.to + e.apart] = first;
  updated[e.to + 2u * e.apart] = second;
}
