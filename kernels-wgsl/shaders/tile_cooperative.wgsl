// The tiles of `tile.wgsl` with their products on cooperative matrices: float16 rows, sums in float32.
// The subgroups of a workgroup take turns at its SIZE × SIZE blocks and leave them in workgroup memory,
// where each invocation finds its own.
const LANES: u32 = {{ lanes }}u;
const LEFT: u32 = 4u * INVOCATIONS / LANES;
const RIGHT: u32 = 4u * LANES;
const CHUNK: u32 = LANES;
const GROUPS: u32 = LEFT / 4u + 1u;
// Rows and columns of a matrix, and invocations of a subgroup, which are neighbours.
const SIZE: u32 = {{ cooperative }}u;
const SUBGROUP: u32 = {{ subgroup }}u;
const SUBGROUPS: u32 = INVOCATIONS / SUBGROUP;
// Entries of a row in workgroup memory: channels, right rows, and a few that keep rows whole times
// 16 bytes apart and spread over the banks.
const STRIDE: u32 = 4u * CHUNK + 8u;
const WEIGHTS: u32 = RIGHT + 8u;
const PRODUCTS: u32 = 4u * CHUNK + 4u;

var<workgroup> left: array<f16, LEFT * STRIDE>;
var<workgroup> right: array<f16, RIGHT * STRIDE>;
// `[left row][right row]`
var<workgroup> weights: array<f16, LEFT * WEIGHTS>;
// `[left row][right row]`, or `[left row][channel]`
var<workgroup> products: array<f32, LEFT * PRODUCTS>;
// Whether the last chunk of a row is not whole.
const PARTIAL: bool = D4 % CHUNK != 0u;

fn put_left(row: u32, c: u32, channels: vec4<f32>) {
  let at = row * STRIDE + 4u * c;
  let half = vec4<f16>(channels);
  left[at] = half.x;
  left[at + 1u] = half.y;
  left[at + 2u] = half.z;
  left[at + 3u] = half.w;
}

fn put_right(row: u32, c: u32, channels: vec4<f32>) {
  let at = row * STRIDE + 4u * c;
  let half = vec4<f16>(channels);
  right[at] = half.x;
  right[at + 1u] = half.y;
  right[at + 2u] = half.z;
  right[at + 3u] = half.w;
}

fn left_vector(row: u32, c: u32) -> vec4<f32> {
  let at = row * STRIDE + 4u * c;
  return vec4<f32>(vec4<f16>(left[at], left[at + 1u], left[at + 2u], left[at + 3u]));
}

fn right_vector(row: u32, c: u32) -> vec4<f32> {
  let at = row * STRIDE + 4u * c;
  return vec4<f32>(vec4<f16>(right[at], right[at + 1u], right[at + 2u], right[at + 3u]));
}

fn multiply(given: array<vec4<f32>, 4>, invocation: u32) -> array<vec4<f32>, 4> {
  workgroupBarrier();
  for (var block = invocation / SUBGROUP; block < LEFT / SIZE * (RIGHT / SIZE); block += SUBGROUPS) {
    let row = block / (RIGHT / SIZE) * SIZE;
    let column = block % (RIGHT / SIZE) * SIZE;
    var sum: coop_mat{{ cooperative }}x{{ cooperative }}<f32, C>;
    for (var k = 0u; k < 4u * CHUNK; k += SIZE) {
      let a = coopLoadT<coop_mat{{ cooperative }}x{{ cooperative }}<f16, A>>(&left[row * STRIDE + k], STRIDE);
      let b = coopLoad<coop_mat{{ cooperative }}x{{ cooperative }}<f16, B>>(&right[column * STRIDE + k], STRIDE);
      sum = coopMultiplyAdd(a, b, sum);
    }
    coopStoreT(sum, &products[row * PRODUCTS + column], PRODUCTS);
  }
  workgroupBarrier();
  var result = given;
  let first = invocation / LANES * 4u * PRODUCTS + invocation % LANES;
  for (var i = 0u; i < 4u; i++) {
    let at = first + i * LANES;
    result[i] += vec4<f32>(
      products[at], products[at + PRODUCTS], products[at + 2u * PRODUCTS], products[at + 3u * PRODUCTS]
    );
  }
  return result;
}

fn put_weights(of_rows: array<vec4<f32>, 4>, invocation: u32) {
  var rows = of_rows;
  let first = invocation / LANES * 4u * WEIGHTS + invocation % LANES;
  for (var i = 0u; i < 4u; i++) {
    for (var k = 0u; k < 4u; k++) { weights[first + k * WEIGHTS + i * LANES] = f16(rows[i][k]); }
  }
}

fn weights_of_row(row: u32, group: u32) -> vec4<f32> {
  let at = group * 4u * WEIGHTS + row;
  return vec4<f32>(vec4<f16>(
    weights[at], weights[at + WEIGHTS], weights[at + 2u * WEIGHTS], weights[at + 3u * WEIGHTS]
  ));
}

// Of products that an invocation has added up, in the place of those of one chunk.
fn put_products(of_rows: array<vec4<f32>, 4>, invocation: u32) {
  var rows = of_rows;
  let first = invocation / LANES * 4u * PRODUCTS + invocation % LANES;
  workgroupBarrier();
  for (var i = 0u; i < 4u; i++) {
    for (var k = 0u; k < 4u; k++) { products[first + k * PRODUCTS + i * LANES] = rows[i][k]; }
  }
}

fn product_at(left_row: u32, right_row: u32) -> f32 {
  return products[left_row * PRODUCTS + right_row];
}

fn add_weighted(given: array<vec4<f32>, 4>, invocation: u32) -> array<vec4<f32>, 4> {
  workgroupBarrier();
  for (var block = invocation / SUBGROUP; block < LEFT / SIZE * (4u * CHUNK / SIZE); block += SUBGROUPS) {
    let row = block / (4u * CHUNK / SIZE) * SIZE;
    let column = block % (4u * CHUNK / SIZE) * SIZE;
    var sum: coop_mat{{ cooperative }}x{{ cooperative }}<f32, C>;
    for (var k = 0u; k < RIGHT; k += SIZE) {
      let a = coopLoadT<coop_mat{{ cooperative }}x{{ cooperative }}<f16, A>>(&weights[row * WEIGHTS + k], WEIGHTS);
      let b = coopLoadT<coop_mat{{ cooperative }}x{{ cooperative }}<f16, B>>(&right[k * STRIDE + column], STRIDE);
      sum = coopMultiplyAdd(a, b, sum);
    }
    coopStoreT(sum, &products[row * PRODUCTS + column], PRODUCTS);
  }
  workgroupBarrier();
  var result = given;
  let first = invocation / LANES * 4u * PRODUCTS + invocation % LANES * 4u;
  for (var k = 0u; k < 4u; k++) {
    let at = first + k * PRODUCTS;
    result[k] += vec4<f32>(products[at], products[at + 1u], products[at + 2u], products[at + 3u]);
  }
  return result;
}

// What each invocation brings, as `group_max` and `group_sum` exchange it.
fn put_own(own: vec4<f32>, invocation: u32) {
  workgroupBarrier();
  for (var k = 0u; k < 4u; k++) { products[4u * invocation + k] = own[k]; }
  workgroupBarrier();
}

fn own_of(lane: u32, invocation: u32) -> vec4<f32> {
  let at = 4u * (invocation / LANES * LANES + lane);
  return vec4<f32>(products[at], products[at + 1u], products[at + 2u], products[at + 3u]);
}

fn group_max(own: vec4<f32>, invocation: u32) -> vec4<f32> {
  put_own(own, invocation);
  var largest = own;
  for (var lane = 0u; lane < LANES; lane++) { largest = max(largest, own_of(lane, invocation)); }
  workgroupBarrier();
  return largest;
}

fn group_sum(own: vec4<f32>, invocation: u32) -> vec4<f32> {
  put_own(own, invocation);
  var sum = vec4<f32>(0.0);
  for (var lane = 0u; lane < LANES; lane++) { sum += own_of(lane, invocation); }
  workgroupBarrier();
  return sum;
}
