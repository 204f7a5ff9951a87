// One tile of attention's backward pass. With queries on one side and keys on the other it takes
// A = exp(S − L) and dS = A ∘ (Z ∘ dO·V − D), and adds up dS times the right rows that made the scores,
// and A ∘ Z times those that made dO·V.
//
// What the latter are, the kernel says: `value_left`, `value_right` (gradients of outputs and values);
// what a tile's entries come to: `weigh`; and D of the left rows and a right one: `delta_of`.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;

// What the kernel makes of a tile: dS times rows, A ∘ Z times rows.
const SCORES: bool = {{ of_scores }};
const VALUES: bool = {{ of_values }};
// Whether it adds up dS alone as well.
const BIASES: bool = {{ of_biases }} && LANDMARK_BIAS;

//# each chunk
var<private> score_sums_{{ chunk }}: array<vec4<f32>, 4>;
var<private> value_sums_{{ chunk }}: array<vec4<f32>, 4>;
//# end
// Of the four left rows, over this invocation's right ones.
var<private> bias_sums: vec4<f32>;

// Entries of the tile at hand, a vector of four left rows for each of four right ones: weights, and a
// bit for each that dropout keeps.
var<private> weight_of: array<vec4<f32>, 4>;
var<private> kept_bits: u32;

fn clear_sums() {
//# each chunk
  score_sums_{{ chunk }} = array<vec4<f32>, 4>();
  value_sums_{{ chunk }} = array<vec4<f32>, 4>();
//# end
  if (BIASES) { bias_sums = vec4<f32>(0.0); }
}

fn keep(i: u32, k: u32, factor: f32) {
  kept_bits |= select(0u, 1u << (4u * i + k), factor > 0.0);
}

// The factors of four entries.
fn kept_of(i: u32) -> vec4<f32> {
  let bits = (vec4<u32>(kept_bits >> (4u * i)) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
  return vec4<f32>(bits) * bitcast<f32>(info.dropout.z);
}

// The weight of a query and a key, given the product of their rows.
fn pair_weight(document: u32, head: u32, query: u32, key: u32, product: f32, log_sum_exp: f32, seen: vec2<u32>) -> f32 {
  let score = pair_score(document, head, query, key, product, seen);
  return select(0.0, exp(min(score - log_sum_exp, 0.0)), score > HIDDEN);
}

//# load value_left value_right

// Visits the right rows from `start` to before `end`, RIGHT at most, for the left rows from `first` on.
fn visit(place: Place, head: u32, first: u32, start: u32, end: u32, of_window: bool, invocation: u32) {
  let products = score_products(place, head, first, start, of_window, invocation);
  kept_bits = 0u;
  weigh(place, head, first, start, end, products, invocation);
  if (VALUES) {
    var shares = weight_of;
    if (DROPOUT) {
      for (var i = 0u; i < 4u; i++) { shares[i] *= kept_of(i); }
    }
    put_weights(shares, invocation);
  }

  var d_weights = array<vec4<f32>, 4>();
//# each chunk
  workgroupBarrier();
  if (SCORES) { load_value_left(place, head, first, {{ chunk }}u, invocation); }
  load_value_right(place, head, start, {{ chunk }}u, invocation);
  workgroupBarrier();
  if (SCORES) { d_weights = multiply(d_weights, invocation); }
  if (VALUES) { value_sums_{{ chunk }} = add_weighted(value_sums_{{ chunk }}, invocation); }
//# end
  if (!SCORES) { return; }
  workgroupBarrier();
  for (var i = 0u; i < 4u; i++) {
    if (DROPOUT) { d_weights[i] *= kept_of(i); }
    d_weights[i] = weight_of[i] * (d_weights[i] - delta_of(place, head, min(start + invocation % LANES + i * LANES, end - 1u)));
    if (BIASES) { bias_sums += d_weights[i]; }
  }
  put_weights(d_weights, invocation);
//# each chunk
  workgroupBarrier();
  load_score_right(place, head, start, {{ chunk }}u, invocation);
  workgroupBarrier();
  score_sums_{{ chunk }} = add_weighted(score_sums_{{ chunk }}, invocation);
  if (RELATIVE && has_entries(of_window)) {
    score_sums_{{ chunk }} = add_relative(score_sums_{{ chunk }}, head, first, start, end, {{ chunk }}u, invocation);
  }
//# end
}
