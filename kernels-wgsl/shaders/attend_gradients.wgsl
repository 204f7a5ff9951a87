// One tile of attention's backward pass. With queries on one side and keys on the other it takes
// A = exp(S − L) and dS = A ∘ (Z ∘ dO·V − D), and adds up dS times the right rows that made the scores,
// and A ∘ Z times those that made dO·V.
//
// What the rows are, the kernel says: `score_left`, `score_right` (queries and keys), `value_left`,
// `value_right` (gradients of outputs and values); and what a tile's entries come to: `weigh`.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;

// What the kernel makes of a tile: dS times rows, A ∘ Z times rows.
const SCORES: bool = {{ of_scores }};
const VALUES: bool = {{ of_values }};
const PARTIAL: bool = D4 % CHUNK != 0u;

//# each chunk
var<private> score_sums_{{ chunk }}: array<vec4<f32>, 4>;
var<private> value_sums_{{ chunk }}: array<vec4<f32>, 4>;
//# end

// What the tile at hand is of: window keys, or landmarks.
var<private> in_window: bool;
// Its entries, a vector of four left rows for each of four right ones: weights, what dropout leaves
// of them, and D.
var<private> weight_of: array<vec4<f32>, 4>;
var<private> kept_of: array<vec4<f32>, 4>;
var<private> delta_of: array<vec4<f32>, 4>;

fn clear_sums() {
//# each chunk
  score_sums_{{ chunk }} = array<vec4<f32>, 4>();
  value_sums_{{ chunk }} = array<vec4<f32>, 4>();
//# end
}

// The weight of a query and a key, given the product of their rows.
fn pair_weight(head: u32, query: u32, key: u32, product: f32, log_sum_exp: f32, seen: vec2<u32>) -> f32 {
  var score = product * score_scale();
  if (BIAS && in_window) { score += bias_of(head, query, key); }
  return select(0.0, exp(min(score - log_sum_exp, 0.0)), key >= seen.x && key < seen.y);
}

// What dropout leaves of it.
fn pair_kept(place: Place, head: u32, query: u32, key: u32) -> f32 {
  var column = key;
  if (in_window) { column = info.seen.x + column_of(query, key); }
  return kept(query_hash(place.document, head, query), column);
}

// Visits the right rows from `start` to before `end`, RIGHT at most, for the left rows from `first` on.
fn visit(place: Place, head: u32, first: u32, start: u32, end: u32, invocation: u32) {
  var products = array<vec4<f32>, 4>();
//# each chunk
  workgroupBarrier();
  for (var i = invocation; i < LEFT * CHUNK; i += INVOCATIONS) {
    let c = {{ chunk }}u * CHUNK + i % CHUNK;
    var vector = vec4<f32>(0.0);
    if (!PARTIAL || c < D4) { vector = score_left(place, head, first + i / CHUNK, c); }
    left[i / CHUNK * STRIDE + i % CHUNK] = vector;
  }
  for (var i = invocation; i < RIGHT * CHUNK; i += INVOCATIONS) {
    let c = {{ chunk }}u * CHUNK + i % CHUNK;
    var vector = vec4<f32>(0.0);
    if (!PARTIAL || c < D4) { vector = score_right(place, head, min(start + i / CHUNK, end - 1u), c); }
    right[i / CHUNK * STRIDE + i % CHUNK] = vector;
  }
  workgroupBarrier();
  products = multiply(products, invocation);
  if (RELATIVE && in_window) { products = multiply_relative(products, head, first, start, {{ chunk }}u, invocation); }
//# end
  weigh(place, head, first, start, end, products, invocation);
  if (VALUES) {
    var shares = weight_of;
    if (DROPOUT) {
      for (var i = 0u; i < 4u; i++) { shares[i] *= kept_of[i]; }
    }
    put_weights(shares, invocation);
  }

  var d_weights = array<vec4<f32>, 4>();
//# each chunk
  workgroupBarrier();
  if (SCORES) {
    for (var i = invocation; i < LEFT * CHUNK; i += INVOCATIONS) {
      let c = {{ chunk }}u * CHUNK + i % CHUNK;
      var vector = vec4<f32>(0.0);
      if (!PARTIAL || c < D4) { vector = value_left(place, head, first + i / CHUNK, c); }
      left[i / CHUNK * STRIDE + i % CHUNK] = vector;
    }
  }
  for (var i = invocation; i < RIGHT * CHUNK; i += INVOCATIONS) {
    let c = {{ chunk }}u * CHUNK + i % CHUNK;
    var vector = vec4<f32>(0.0);
    if (!PARTIAL || c < D4) { vector = value_right(place, head, min(start + i / CHUNK, end - 1u), c); }
    right[i / CHUNK * STRIDE + i % CHUNK] = vector;
  }
  workgroupBarrier();
  if (SCORES) { d_weights = multiply(d_weights, invocation); }
  if (VALUES) { value_sums_{{ chunk }} = add_weighted(value_sums_{{ chunk }}, invocation); }
//# end
  if (!SCORES) { return; }
  workgroupBarrier();
  for (var i = 0u; i < 4u; i++) {
    if (DROPOUT) { d_weights[i] *= kept_of[i]; }
    d_weights[i] = weight_of[i] * (d_weights[i] - delta_of[i]);
  }
  put_weights(d_weights, invocation);
//# each chunk
  workgroupBarrier();
  for (var i = invocation; i < RIGHT * CHUNK; i += INVOCATIONS) {
    let c = {{ chunk }}u * CHUNK + i % CHUNK;
    var vector = vec4<f32>(0.0);
    if (!PARTIAL || c < D4) { vector = score_right(place, head, min(start + i / CHUNK, end - 1u), c); }
    right[i / CHUNK * STRIDE + i % CHUNK] = vector;
  }
  workgroupBarrier();
  score_sums_{{ chunk }} = add_weighted(score_sums_{{ chunk }}, invocation);
  if (RELATIVE && in_window) {
    score_sums_{{ chunk }} = add_relative(score_sums_{{ chunk }}, head, first, start, {{ chunk }}u, invocation);
  }
//# end
}
