// Copies landmark keys and values side by side into the context: an invocation a vector.

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let c = i % (2u * D4);
  let landmark = i / (2u * D4) % info.seen.x;
  let head = i / (2u * D4) / info.seen.x % info.batch.x;
  let document = i / (2u * D4) / info.seen.x / info.batch.x;
  var vector: vec4<f32>;
  if (c < D4) {
    vector = key_at(key_row(document, head, landmark), c);
  } else {
    vector = value_at(value_row(document, head, landmark), c - D4);
  }
  context[i] = bitcast<vec4<u32>>(vector);
}
