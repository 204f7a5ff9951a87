// Tiles of rows in workgroup memory: LEFT rows that the workgroup owns, RIGHT at a time of those that
// it visits, of either CHUNK vectors of channels at a time.
//
// LANES invocations, a group, share four left rows. Each computes their products with the right rows
// `lane`, `lane + LANES`, `lane + 2 · LANES` and `lane + 3 · LANES`; and of weighted sums of right
// rows the vector `lane` of every chunk, for the same left rows.
const LANES: u32 = {{ lanes }}u;
const LEFT: u32 = 4u * INVOCATIONS / LANES;
const RIGHT: u32 = 4u * LANES;
const CHUNK: u32 = LANES;
// One vector more than a chunk has spreads the rows over the banks of the memory.
const STRIDE: u32 = CHUNK + 1u;
const GROUPS: u32 = LEFT / 4u + 1u;

var<workgroup> left: array<vec4<f32>, {{ left_vectors }}>;
var<workgroup> right: array<vec4<f32>, {{ right_vectors }}>;
// Of each right row its four weights in each group, `[right row][group]`.
var<workgroup> weights: array<vec4<f32>, {{ weight_vectors }}>;
// Whether the last chunk of a row is not whole.
const PARTIAL: bool = D4 % CHUNK != 0u;

fn put_left(row: u32, c: u32, channels: vec4<f32>) {
  left[row * STRIDE + c] = channels;
}

fn put_right(row: u32, c: u32, channels: vec4<f32>) {
  right[row * STRIDE + c] = channels;
}

fn left_vector(row: u32, c: u32) -> vec4<f32> {
  return left[row * STRIDE + c];
}

fn right_vector(row: u32, c: u32) -> vec4<f32> {
  return right[row * STRIDE + c];
}

// Adds the products of left and right rows, over the chunk at hand: of each right row a vector of
// those with the four left ones.
fn multiply(given: array<vec4<f32>, 4>, invocation: u32) -> array<vec4<f32>, 4> {
  var products = given;
  let first = invocation / LANES * 4u * STRIDE;
  let lane = invocation % LANES * STRIDE;
  for (var c = 0u; c < CHUNK; c++) {
    let l0 = left[first + c];
    let l1 = left[first + STRIDE + c];
    let l2 = left[first + 2u * STRIDE + c];
    let l3 = left[first + 3u * STRIDE + c];
    for (var i = 0u; i < 4u; i++) {
      let r = right[lane + i * LANES * STRIDE + c];
      products[i] += vec4<f32>(dot(r, l0), dot(r, l1), dot(r, l2), dot(r, l3));
    }
  }
  return products;
}

// Hands the weights of the invocation's right rows to its group.
fn put_weights(of_rows: array<vec4<f32>, 4>, invocation: u32) {
  var rows = of_rows;
  let at = invocation % LANES * GROUPS + invocation / LANES;
  for (var i = 0u; i < 4u; i++) { weights[at + i * LANES * GROUPS] = rows[i]; }
}

// The weights of a right row in a group.
fn weights_of_row(row: u32, group: u32) -> vec4<f32> {
  return weights[row * GROUPS + group];
}

// The same of products, in the place of weights.
fn put_products(of_rows: array<vec4<f32>, 4>, invocation: u32) {
  put_weights(of_rows, invocation);
}

fn product_at(left_row: u32, right_row: u32) -> f32 {
  return weights[right_row * GROUPS + left_row / 4u][left_row % 4u];
}

// Adds the right rows by their weights: of each of the four left rows the vector `lane` of the chunk at
// hand.
fn add_weighted(given: array<vec4<f32>, 4>, invocation: u32) -> array<vec4<f32>, 4> {
  var sums = given;
  let group = invocation / LANES;
  let lane = invocation % LANES;
  for (var j = 0u; j < RIGHT; j++) {
    let weight = weights[j * GROUPS + group];
    let r = right[j * STRIDE + lane];
    sums[0] += weight.x * r;
    sums[1] += weight.y * r;
    sums[2] += weight.z * r;
    sums[3] += weight.w * r;
  }
  return sums;
}

// Of a vector of each invocation's, the largest and the sum over its group. All invocations of a
// workgroup have to call them together; the weights are lost.
fn group_max(own: vec4<f32>, invocation: u32) -> vec4<f32> {
  workgroupBarrier();
  weights[invocation % LANES * GROUPS + invocation / LANES] = own;
  workgroupBarrier();
  var largest = own;
  for (var lane = 0u; lane < LANES; lane++) {
    largest = max(largest, weights[lane * GROUPS + invocation / LANES]);
  }
  workgroupBarrier();
  return largest;
}

fn group_sum(own: vec4<f32>, invocation: u32) -> vec4<f32> {
  workgroupBarrier();
  weights[invocation % LANES * GROUPS + invocation / LANES] = own;
  workgroupBarrier();
  var sum = vec4<f32>(0.0);
  for (var lane = 0u; lane < LANES; lane++) {
    sum += weights[lane * GROUPS + invocation / LANES];
  }
  workgroupBarrier();
  return sum;
}
