// Tiles of attention with queries on the left: the landmarks and the keys that they see pass by.

// What each of the invocation's queries sees of the run at hand.
var<private> seen_first: vec4<u32>;
var<private> seen_end: vec4<u32>;

// Of landmarks, and of a run of keys.
fn see_landmarks(place: Place, own: u32) {
  in_window = false;
  for (var k = 0u; k < 4u; k++) {
    seen_first[k] = 0u;
    seen_end[k] = landmarks_of(min(own + k, place.length - 1u));
  }
}

fn see_run(place: Place, own: u32, run: vec2<u32>) {
  in_window = true;
  for (var k = 0u; k < 4u; k++) {
    let seen = seen_of(min(own + k, place.length - 1u), run, place.keys);
    seen_first[k] = seen.x;
    seen_end[k] = seen.y;
  }
}

fn score_left(place: Place, head: u32, query: u32, c: u32) -> vec4<f32> {
  return query_at(query_row(place.row, head, place.start + min(query, place.length - 1u)), c);
}

// First vector in the context of a landmark's key; its value comes after it.
fn landmark_row(place: Place, head: u32, landmark: u32) -> u32 {
  return ((place.document * info.batch.x + head) * info.seen.x + min(landmark, info.seen.x - 1u)) * 2u * D4;
}

fn score_right(place: Place, head: u32, key: u32, c: u32) -> vec4<f32> {
  if (!in_window) { return context_vector(landmark_row(place, head, key) + c); }
  return key_at(key_row(place.row, head, place.start + min(key, place.keys - 1u)), c);
}

fn value_right(place: Place, head: u32, key: u32, c: u32) -> vec4<f32> {
  if (!in_window) { return context_vector(landmark_row(place, head, key) + D4 + c); }
  return value_at(value_row(place.row, head, place.start + min(key, place.keys - 1u)), c);
}

// Adds what the queries and keys by offset come to.
fn multiply_relative(given: array<vec4<f32>, 4>, head: u32, first: u32, start: u32, chunk: u32, invocation: u32) -> array<vec4<f32>, 4> {
  var products = given;
  let group = invocation / LANES * 4u;
  for (var i = 0u; i < 4u; i++) {
    for (var k = 0u; k < 4u; k++) {
      let key = start + invocation % LANES + i * LANES;
      let relative = relative_of(head, entry_of_pair(first + group + k, key)) + chunk * CHUNK;
      var sum = 0.0;
      for (var c = 0u; c < vectors_of(chunk); c++) {
        sum += dot(left_vector(group + k, c), context_vector(relative + c));
      }
      products[i][k] += sum;
    }
  }
  return products;
}

// Visits all that the queries from `first` to before `end` see, LEFT at most.
fn visit_seen(place: Place, head: u32, first: u32, end: u32, invocation: u32) {
  let own = first + invocation / LANES * 4u;
  if (LANDMARKS) {
    see_landmarks(place, own);
    for (var start = 0u; start < info.seen.x; start += RIGHT) {
      visit(place, head, first, start, info.seen.x, invocation);
    }
  }
  if (WINDOW) {
    let last = min(first + LEFT, end) - 1u;
    let runs = runs_of(first, last);
    for (var number = 0u; number < runs; number++) {
      let run = run_of(first, last, number, place.keys);
      see_run(place, own, run);
      for (var start = run.x; start < run.y; start += RIGHT) {
        visit(place, head, first, start, run.y, invocation);
      }
    }
  }
}
