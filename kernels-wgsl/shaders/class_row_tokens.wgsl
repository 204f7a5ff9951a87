// Rows of a task's tokens in workgroup memory: those of INVOCATIONS tokens, LANES vectors at a time. An
// invocation has a token's score, and of sums over tokens the vector `lane` of every chunk, over
// every so many-th token.
const LANES: u32 = {{ lanes }}u;
const CHUNKS: u32 = (D4 + LANES - 1u) / LANES;
// One vector more spreads the rows over the banks of the memory.
const STRIDE: u32 = LANES + 1u;
const APART: u32 = INVOCATIONS / LANES;

var<workgroup> rows: array<vec4<f32>, INVOCATIONS * STRIDE>;

fn stage(place: Place, head: u32, start: u32, chunk: u32, invocation: u32) {
  workgroupBarrier();
  for (var i = invocation; i < INVOCATIONS * LANES; i += INVOCATIONS) {
    let token = min(start + i / LANES, place.length - 1u);
    let c = chunk * LANES + i % LANES;
    var row = vec4<f32>(0.0);
    if (c < D4) { row = tokens_at(tokens_row(place.row, head, place.start + token), c); }
    rows[i / LANES * STRIDE + i % LANES] = row;
  }
  workgroupBarrier();
}

// The sum of a vector of each invocation's over those with the same lane.
fn lane_sum(own: vec4<f32>, invocation: u32) -> vec4<f32> {
  workgroupBarrier();
  rows[invocation] = own;
  workgroupBarrier();
  var sum = vec4<f32>(0.0);
  for (var i = invocation % LANES; i < INVOCATIONS; i += LANES) { sum += rows[i]; }
  return sum;
}
