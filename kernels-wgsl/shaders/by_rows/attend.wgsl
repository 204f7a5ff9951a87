// Attention of queries over landmarks and window under one softmax, which runs online: every four
// columns the sums are brought to the largest score so far.
//
// A workgroup takes one task (a stretch of queries of one document) of one head, an invocation
// GROUP neighbouring queries, which share every row of keys and values that it reads.
@group(0) @binding({{ log_sum_exp_binding }}) var<storage, read_write> log_sum_exp: array<f32>;

var<private> queries: array<array<vec4<f32>, D4>, GROUP>;
var<private> sums: array<array<vec4<f32>, D4>, GROUP>;
var<private> scores: array<vec4<f32>, GROUP>;
var<private> largest: array<f32, GROUP>;
var<private> total: array<f32, GROUP>;
// Of the run at hand what each query sees, from its first key to before its end.
var<private> seen: array<vec2<u32>, GROUP>;
var<private> hashes: array<u32, GROUP>;

// Turns the scores of four columns of query `g` into weights, and brings its sums to their level.
fn weigh(g: u32, visible: vec4<bool>) -> vec4<f32> {
  let score = select(vec4<f32>(HIDDEN), scores[g], visible);
  let top = max(max(largest[g], max(score.x, score.y)), max(score.z, score.w));
  let weight = select(vec4<f32>(0.0), exp(score - top), visible);
  let fade = exp(largest[g] - top);
  largest[g] = top;
  total[g] = total[g] * fade + dot(weight, vec4<f32>(1.0));
  for (var c = 0u; c < D4; c++) {
    sums[g][c] *= fade;
  }
  return weight;
}

// What the tables by offset add to a score of query `g` of this invocation.
fn entry_score(g: u32, head: u32, entry: u32) -> f32 {
  var sum = 0.0;
  if (BIAS) { sum = bias_of(head, entry); }
  if (RELATIVE) {
    let row = relative_of(head, entry);
    for (var c = 0u; c < D4; c++) { sum += dot(queries[g][c], context_vector(row + c)); }
  }
  return sum;
}

fn drop(g: u32, column: u32, weight: vec4<f32>) -> vec4<f32> {
  if (!DROPOUT) { return weight; }
  return weight * vec4<f32>(
    kept(hashes[g], column),
    kept(hashes[g], column + 1u),
    kept(hashes[g], column + 2u),
    kept(hashes[g], column + 3u),
  );
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
    for (var c = 0u; c < D4; c++) {
      queries[g][c] = query_at(row, c) * score_scale();
      sums[g][c] = vec4<f32>(0.0);
    }
    largest[g] = HIDDEN;
    total[g] = 0.0;
    if (DROPOUT) { hashes[g] = query_hash(place.document, head, query); }
  }

  if (LANDMARKS) {
    for (var start = 0u; start < info.seen.x; start += STAGED) {
      workgroupBarrier();
      stage(place.document, head, start, invocation);
      workgroupBarrier();
      let count = min(STAGED, info.seen.x - start);
      for (var j = 0u; j < count; j += 4u) {
        let row = j * 2u * D4;
        for (var g = 0u; g < GROUP; g++) { scores[g] = vec4<f32>(0.0); }
        for (var c = 0u; c < D4; c++) {
          let k0 = staged[row + c];
          let k1 = staged[row + 2u * D4 + c];
          let k2 = staged[row + 4u * D4 + c];
          let k3 = staged[row + 6u * D4 + c];
          for (var g = 0u; g < GROUP; g++) {
            let q = queries[g][c];
            scores[g] += vec4<f32>(dot(q, k0), dot(q, k1), dot(q, k2), dot(q, k3));
          }
        }
        let columns = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
        let landmarks = columns + start;
        for (var g = 0u; g < GROUP; g++) {
          let query = min(first + g, last);
          if (LANDMARK_BIAS) {
            scores[g] += vec4<f32>(
              landmark_bias_of(place.document, head, landmarks.x), landmark_bias_of(place.document, head, landmarks.y),
              landmark_bias_of(place.document, head, landmarks.z), landmark_bias_of(place.document, head, landmarks.w),
            );
          }
          if (LANDMARK_OFFSETS) {
            scores[g] += vec4<f32>(
              entry_score(g, head, entry_of_landmark(query, landmarks.x)),
              entry_score(g, head, entry_of_landmark(query, landmarks.y)),
              entry_score(g, head, entry_of_landmark(query, landmarks.z)),
              entry_score(g, head, entry_of_landmark(query, landmarks.w)),
            );
          }
          var visible = columns < vec4<u32>(count);
          if (CHUNKS) { visible &= landmarks < vec4<u32>(landmarks_of(query)); }
          scores[g] = drop(g, start + j, weigh(g, visible));
        }
        for (var c = 0u; c < D4; c++) {
          let v0 = staged[row + D4 + c];
          let v1 = staged[row + 3u * D4 + c];
          let v2 = staged[row + 5u * D4 + c];
          let v3 = staged[row + 7u * D4 + c];
          for (var g = 0u; g < GROUP; g++) {
            let p = scores[g];
            sums[g][c] += p.x * v0 + p.y * v1 + p.z * v2 + p.w * v3;
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
    for (var j = run.x; j < run.y; j += 4u) {
      let keys = min(vec4<u32>(j, j + 1u, j + 2u, j + 3u), vec4<u32>(place.keys - 1u));
      let tokens = keys + place.start;
      let k0_row = key_row(place.row, head, tokens.x);
      let k1_row = key_row(place.row, head, tokens.y);
      let k2_row = key_row(place.row, head, tokens.z);
      let k3_row = key_row(place.row, head, tokens.w);
      for (var g = 0u; g < GROUP; g++) { scores[g] = vec4<f32>(0.0); }
      for (var c = 0u; c < D4; c++) {
        let k0 = key_at(k0_row, c);
        let k1 = key_at(k1_row, c);
        let k2 = key_at(k2_row, c);
        let k3 = key_at(k3_row, c);
        for (var g = 0u; g < GROUP; g++) {
          let q = queries[g][c];
          scores[g] += vec4<f32>(dot(q, k0), dot(q, k1), dot(q, k2), dot(q, k3));
        }
      }
      var real = vec4<bool>(true);
      if (PADDED) {
        real = vec4<bool>(
          is_real(place, keys.x), is_real(place, keys.y), is_real(place, keys.z), is_real(place, keys.w),
        );
      }
      let columns = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
      for (var g = 0u; g < GROUP; g++) {
        let query = min(first + g, last);
        if (OFFSETS) {
          scores[g] += vec4<f32>(
            entry_score(g, head, entry_of_key(query, columns.x)), entry_score(g, head, entry_of_key(query, columns.y)),
            entry_score(g, head, entry_of_key(query, columns.z)), entry_score(g, head, entry_of_key(query, columns.w)),
          );
        }
        let visible = real & (columns >= vec4<u32>(seen[g].x)) & (columns < vec4<u32>(seen[g].y));
        scores[g] = weigh(g, visible);
        if (DROPOUT) { scores[g] = drop(g, info.seen.x + column_of(query, j), scores[g]); }
      }
      let v0_row = value_row(place.row, head, tokens.x);
      let v1_row = value_row(place.row, head, tokens.y);
      let v2_row = value_row(place.row, head, tokens.z);
      let v3_row = value_row(place.row, head, tokens.w);
      for (var c = 0u; c < D4; c++) {
        let v0 = value_at(v0_row, c);
        let v1 = value_at(v1_row, c);
        let v2 = value_at(v2_row, c);
        let v3 = value_at(v3_row, c);
        for (var g = 0u; g < GROUP; g++) {
          let p = scores[g];
          sums[g][c] += p.x * v0 + p.y * v1 + p.z * v2 + p.w * v3;
        }
      }
    }
  }

  for (var g = 0u; g < GROUP; g++) {
    let query = first + g;
    if (query < place.length) {
      let sees = total[g] > 0.0 && is_real(place, query);
      let share = select(0.0, 1.0 / total[g], sees);
      let row = output_row(place.row, head, place.start + query);
      for (var c = 0u; c < D4; c++) {
        output_put(row, c, sums[g][c] * share);
      }
      log_sum_exp[token_position(place, head, query)] = select(0.0, largest[g] + log(total[g]), sees);
    }
  }
}
