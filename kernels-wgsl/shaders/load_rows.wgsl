
// Loads a chunk of the tile's rows from `start` on.
fn load_{{ rows }}(place: Place, head: u32, start: u32, chunk: u32, invocation: u32) {
  for (var i = invocation; i < {{ count }} * CHUNK; i += INVOCATIONS) {
    let c = chunk * CHUNK + i % CHUNK;
    var vector = vec4<f32>(0.0);
    if (!PARTIAL || c < D4) { vector = {{ rows }}(place, head, start + i / CHUNK, c); }
    put_{{ side }}(i / CHUNK, i % CHUNK, vector);
  }
}
