// Adds up the rows of each id, which stand side by side in the order of ids: an invocation a vector
// of a chunk of TASK tokens. A run of one id that lies in one chunk is done with. Of one that lies
// in several each leaves its sum as a part: the first run of a chunk as its part 0, a later one,
// which is its last, as its part 1.
@group(0) @binding({{ sorted_binding }}) var<storage, read_write> sorted: array<vec2<u32>>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

// Rows that are asked for together.
const AHEAD: u32 = 4u;

fn finish(id: u32, part: u32, crosses: bool, c: u32, sum: vec4<f32>) {
  if (crosses) {
    parts[part * D4 + c] = sum;
  } else {
    d_table_put(d_table_row(0u, 0u, id), c, sum);
  }
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let chunk = i / D4;
  let c = i % D4;
  let first = chunk * TASK;
  let tokens = info.batch.y;
  let end = min(first + TASK, tokens);
  var id = sorted[first].x;
  var part = 2u * chunk;
  var crosses = first > 0u && sorted[max(first, 1u) - 1u].x == id;
  var sum = vec4<f32>(0.0);
  for (var place = first; place < end; place += AHEAD) {
    var pairs: array<vec2<u32>, AHEAD>;
    var rows: array<vec4<f32>, AHEAD>;
    for (var k = 0u; k < AHEAD; k++) { pairs[k] = sorted[min(place + k, end - 1u)]; }
    for (var k = 0u; k < AHEAD; k++) {
      rows[k] = d_output_at(d_output_row(0u, 0u, pairs[k].y), c);
    }
    for (var k = 0u; k < AHEAD; k++) {
      let real = place + k < end;
      if (real && pairs[k].x != id) {
        finish(id, part, crosses, c, sum);
        id = pairs[k].x;
        part = 2u * chunk + 1u;
        crosses = false;
        sum = vec4<f32>(0.0);
      }
      if (real) { sum += rows[k]; }
    }
  }
  crosses = crosses || (end < tokens && sorted[min(end, tokens - 1u)].x == id);
  finish(id, part, crosses, c, sum);
}
