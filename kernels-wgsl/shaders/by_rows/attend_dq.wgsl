// Gradient of attention for its queries: dQ = scale · Σ dS · [K̄ | K], with
// dS = A ∘ (Z ∘ dO·V − D) and A = exp(S − L) recomputed.
//
// Tasks and invocations as in `attend`.
@group(0) @binding({{ stats_binding }}) var<storage, read_write> stats: array<vec2<f32>>;

var<private> queries: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_outputs: array<array<vec4<f32>, D4>, GROUP>;
var<private> d_queries: array<array<vec4<f32>, D4>, GROUP>;
var<private> own_stats: array<vec2<f32>, GROUP>;
// Of the run at hand what each query sees, from its first key to before its end.
var<private> seen: array<vec2<u32>, GROUP>;
var<private> hashes: array<u32, GROUP>;
// The key of the column at hand, its products with the queries, and those of its value.
var<private> key_vectors: array<vec4<f32>, D4>;
var<private> scores: array<f32, GROUP>;
var<private> d_weights: array<f32, GROUP>;

// Takes a column into the gradient of query `g`, if it is seen; gives the gradient of its score.
fn take_column(g: u32, column: u32, visible: bool) -> f32 {
  var d_weight = d_weights[g];
  if (DROPOUT) { d_weight *= kept(hashes[g], column); }
  let weight = exp(min(scores[g] - own_stats[g].x, 0.0));
  let d_score = select(0.0, weight * (d_weight - own_stats[g].y), visible);
  for (var c = 0u; c < D4; c++) {
    d_queries[g][c] += d_score * key_vectors[c];
  }
  return d_score;
}

// The same of a column with an entry in tables by offset.
fn take_entry(g: u32, head: u32, entry: u32, column: u32, visible: bool) {
  if (BIAS) { scores[g] += bias_of(head, entry); }
  if (!RELATIVE) {
    _ = take_column(g, column, visible);
    return;
  }
  let relative = relative_of(head, entry);
  for (var c = 0u; c < D4; c++) { scores[g] += dot(queries[g][c], context_vector(relative + c)); }
  let d_score = take_column(g, column, visible);
  for (var c = 0u; c < D4; c++) { d_queries[g][c] += d_score * context_vector(relative + c); }
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let task = workgroup_of(grid);
  if (task >= info.batch.z) { return; }
  let head = task % info.batch.x;
  let place = place_of(task / info.batch.x);
  let first = place.first + invocation * GROUP;
  let last = place.length - 1u;
  for (var g = 0u; g < GROUP; g++) {
    let query = min(first + g, last);
    let row = query_row(place.row, head, place.start + query);
    let d_row = d_output_row(place.row, head, place.start + query);
    for (var c = 0u; c < D4; c++) {
      queries[g][c] = query_at(row, c) * score_scale();
      d_outputs[g][c] = d_output_at(d_row, c);
      d_queries[g][c] = vec4<f32>(0.0);
    }
    own_stats[g] = stats[token_position(place, head, query)];
    if (DROPOUT) { hashes[g] = query_hash(place.document, head, query); }
  }

  if (LANDMARKS) {
    for (var start = 0u; start < info.seen.x; start += STAGED) {
      workgroupBarrier();
      stage(place.document, head, start, invocation);
      workgroupBarrier();
      let count = min(STAGED, info.seen.x - start);
      for (var j = 0u; j < count; j++) {
        let row = j * 2u * D4;
        for (var g = 0u; g < GROUP; g++) {
          scores[g] = 0.0;
          d_weights[g] = 0.0;
        }
        for (var c = 0u; c < D4; c++) {
          let k = staged[row + c];
          let v = staged[row + D4 + c];
          key_vectors[c] = k;
          for (var g = 0u; g < GROUP; g++) {
            scores[g] += dot(queries[g][c], k);
            d_weights[g] += dot(d_outputs[g][c], v);
          }
        }
        for (var g = 0u; g < GROUP; g++) {
          let landmark = start + j;
          let query = min(first + g, last);
          let visible = !CHUNKS || landmark < landmarks_of(query);
          if (LANDMARK_BIAS) { scores[g] += landmark_bias_of(place.document, head, landmark); }
          if (LANDMARK_OFFSETS) {
            take_entry(g, head, entry_of_landmark(query, landmark), landmark, visible);
          } else {
            _ = take_column(g, landmark, visible);
          }
        }
      }
    }
  }

  let first_query = min(first, last);
  let last_query = min(first + GROUP - 1u, last);
  var runs = 0u;
  if (WINDOW) { runs = runs_of(first_query, last_query); }
  for (var number = 0u; number < runs; number++) {
    let run = run_of(first_query, last_query, number, place.keys);
    for (var g = 0u; g < GROUP; g++) {
      seen[g] = seen_of(min(first + g, last), run, place.keys);
    }
    for (var j = run.x; j < run.y; j++) {
      let k_row = key_row(place.row, head, place.start + j);
      let v_row = value_row(place.row, head, place.start + j);
      for (var g = 0u; g < GROUP; g++) {
        scores[g] = 0.0;
        d_weights[g] = 0.0;
      }
      for (var c = 0u; c < D4; c++) {
        let k = key_at(k_row, c);
        let v = value_at(v_row, c);
        key_vectors[c] = k;
        for (var g = 0u; g < GROUP; g++) {
          scores[g] += dot(queries[g][c], k);
          d_weights[g] += dot(d_outputs[g][c], v);
        }
      }
      // A padded token is known by its log-sum-exp.
      var real = true;
      if (PADDED) { real = stats[token_position(place, head, j)].x < -HIDDEN; }
      for (var g = 0u; g < GROUP; g++) {
        let query = min(first + g, last);
        var column = 0u;
        if (DROPOUT) { column = info.seen.x + column_of(query, j); }
        let visible = real && j >= seen[g].x && j < seen[g].y;
        if (OFFSETS) {
          take_entry(g, head, entry_of_key(query, j), column, visible);
        } else {
          _ = take_column(g, column, visible);
        }
      }
    }
  }

  for (var g = 0u; g < GROUP; g++) {
    let query = first + g;
    if (query < place.length) {
      let row = d_query_row(place.row, head, place.start + query);
      for (var c = 0u; c < D4; c++) {
        d_query_put(row, c, d_queries[g][c] * score_scale());
      }
    }
  }
}
