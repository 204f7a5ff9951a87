// What the kernels of a LayerNorm share: LANES neighbouring invocations hold a row in registers, its
// vectors dealt out one after another, and take every `slots`-th row.
const LANES: u32 = {{ lanes }}u;
const SLOTS_OF_WORKGROUP: u32 = INVOCATIONS / LANES;
// Channels of a row.
const D: u32 = {{ d }}u;

@group(0) @binding({{ gamma_binding }}) var<storage, read_write> gamma: array<{{ element }}>;

var<workgroup> lane_sums: array<vec2<f32>, INVOCATIONS>;
var<private> normalised: array<vec4<f32>, GROUP>;
var<private> gammas: array<vec4<f32>, GROUP>;

// The sum over the lanes of a row. All invocations of a workgroup have to call it together.
fn row_sum(own: vec2<f32>, invocation: u32) -> vec2<f32> {
  if (LANES == 1u) { return own; }
  workgroupBarrier();
  lane_sums[invocation] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (invocation % LANES < half) {
      lane_sums[invocation] += lane_sums[invocation + half];
    }
  }
  workgroupBarrier();
  return lane_sums[invocation / LANES * LANES];
}

// 1 for the channels of a vector that a row has, 0 beyond its end.
fn channels_of(c: u32) -> vec4<f32> {
  let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), vec4<f32>(1.0), channel < vec4<u32>(D));
}

fn load_gammas(lane: u32) {
  for (var i = 0u; i < GROUP; i++) {
    let c = lane + i * LANES;
    for (var part = 0u; part < 4u; part++) {
      let channel = min(4u * c + part, D - 1u);
      gammas[i][part] = f32(gamma[channel]);
    }
  }
}

// Loads a row as it is normalised, x̂ = (x − mean) / √(variance + ε); returns 1 / √(variance + ε).
fn load_normalised(row: u32, lane: u32, invocation: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < GROUP; i++) {
    let c = lane + i * LANES;
    normalised[i] = vec4<f32>(0.0);
    if (c < D4) { normalised[i] = x_at(row, c); }
    sum += dot(normalised[i], vec4<f32>(1.0));
  }
  let mean = row_sum(vec2<f32>(sum, 0.0), invocation).x / f32(D);
  var squares = 0.0;
  for (var i = 0u; i < GROUP; i++) {
    normalised[i] = (normalised[i] - mean) * channels_of(lane + i * LANES);
    squares += dot(normalised[i], normalised[i]);
  }
  let variance = row_sum(vec2<f32>(squares, 0.0), invocation).x / f32(D);
  let scale = 1.0 / sqrt(variance + bitcast<f32>(info.dropout.w));
  for (var i = 0u; i < GROUP; i++) { normalised[i] *= scale; }
  return scale;
}
