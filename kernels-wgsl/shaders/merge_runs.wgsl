// Adds up what `sum_runs` left of ids whose runs lie in several chunks, and gives ids that no token
// has zeros: a workgroup an id.
@group(0) @binding({{ sorted_binding }}) var<storage, read_write> sorted: array<vec2<u32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

// Where the id's run begins, and where it has ended.
var<workgroup> bounds: array<u32, 2>;

// The first place of an id that is not below this one.
fn first_place(id: u32) -> u32 {
  var first = 0u;
  var end = info.batch.y;
  while (first < end) {
    let middle = first + (end - first) / 2u;
    if (sorted[middle].x < id) { first = middle + 1u; } else { end = middle; }
  }
  return first;
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let id = workgroup_of(grid);
  if (invocation < 2u) { bounds[invocation] = first_place(id + invocation); }
  workgroupBarrier();
  let unused = bounds[0] == bounds[1];
  let first = bounds[0] / TASK;
  let last = max(bounds[1], 1u) - 1u;
  let crosses = !unused && first < last / TASK;
  let lane = invocation % LANES;
  let slot = invocation / LANES;
  for (var start = 0u; start < D4; start += LANES) {
    let c = start + lane;
    var sum = vec4<f32>(0.0);
    if (crosses && c < D4) {
      for (var chunk = first + slot; chunk <= last / TASK; chunk += SLOTS) {
        let part = select(0u, 1u, chunk == first && bounds[0] % TASK > 0u);
        sum += parts[(2u * chunk + part) * D4 + c];
      }
    }
    sum = sum_of_slots(sum, invocation);
    if (slot == 0u && c < D4 && id < info.keys.x && (unused || crosses)) {
      d_table_put(d_table_row(0u, 0u, id), c, sum);
    }
  }
}
