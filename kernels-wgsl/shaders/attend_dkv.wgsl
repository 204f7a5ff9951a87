// Gradients of attention for the window's keys and values: dK = Σ dS · (scale · Q) and
// dV = Σ (A ∘ Z) · dO, over the queries that see the key.
//
// A workgroup takes one task of keys of one head, LEFT at a time, and visits the runs of queries that
// see them. Where a device has too few storage buffers or registers for both outputs, it is launched
// once for each.
var<private> real: vec4<bool>;

fn score_left(place: Place, head: u32, key: u32, c: u32) -> vec4<f32> {
  return key_at(key_row(place.row, head, place.start + min(key, place.keys - 1u)), c);
}

fn value_left(place: Place, head: u32, key: u32, c: u32) -> vec4<f32> {
  {{ value_left }}
}

// Of one dimension's patterns, what a query sees is the same for every key.
fn seen_from(query: u32, key: u32, place: Place) -> vec2<u32> {
  return seen_of(query, vec2<u32>(key, key + 1u), place.keys);
}

fn is_real_key(k: u32) -> bool {
  return !PADDED || real[k];
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let task = workgroup_of(grid);
  if (task >= info.batch.z) { return; }
  let head = task % info.batch.x;
  let place = place_of_workgroup(task / info.batch.x, invocation);
  in_window = true;
  let task_end = min(place.first + TASK, place.keys);
  for (var first = place.first; first < task_end; first += LEFT) {
    let own = first + invocation / LANES * 4u;
    if (PADDED) {
      for (var k = 0u; k < 4u; k++) {
        // A padded token is known by its log-sum-exp.
        real[k] = stats[token_position(place, head, min(own + k, place.keys - 1u))].x < -HIDDEN;
      }
    }
    clear_sums();
    let last = min(first + LEFT, task_end) - 1u;
    let runs = query_runs_of(first, last);
    for (var number = 0u; number < runs; number++) {
      let run = query_run_of(first, last, number, place.length);
      for (var start = run.x; start < run.y; start += RIGHT) {
        visit(place, head, first, start, run.y, true, invocation);
      }
    }
    for (var k = 0u; k < 4u; k++) {
      let key = own + k;
      if (key < task_end) {
        {{ store_rows }}
//# each chunk
        let c_{{ chunk }} = {{ chunk }}u * CHUNK + invocation % LANES;
        if (c_{{ chunk }} < D4) {
          {{ store }}
        }
//# end
      }
    }
  }
}
