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

// Relative keys are on the right as well.
const ENTRIES: u32 = RIGHT;

fn relative_right(place: Place, head: u32, entry: u32, c: u32) -> vec4<f32> {
  return relative_vector(head, entry, c);
}

//# load relative_right

fn entries_of_tile(first: u32, start: u32, of_window: bool) -> vec2<u32> {
  return entries_of(first, first + LEFT - 1u, vec2<u32>(start, start + RIGHT - 1u), of_window);
}

fn load_relative(place: Place, head: u32, first: u32, start: u32, entry: u32, chunk: u32, invocation: u32) {
  load_score_left(place, head, first, chunk, invocation);
  load_relative_right(place, head, entry, chunk, invocation);
}

// What a pair of the invocation's finds among the products with the relative keys from `entry` on.
fn relative_product(first: u32, start: u32, entry: u32, i: u32, k: u32, invocation: u32) -> f32 {
  let own = invocation / LANES * 4u + k;
  let row = entry_of_pair(first + own, start + invocation % LANES + i * LANES) - entry;
  if (row >= ENTRIES) { return 0.0; }
  return product_at(own, row);
}

// Visits all that the queries from `first` to before `end` see, LEFT at most.
fn visit_seen(place: Place, head: u32, first: u32, end: u32, invocation: u32) {
  let own = first + invocation / LANES * 4u;
  if (LANDMARKS) {
    see_landmarks(place, own);
    for (var start = 0u; start < info.seen.x; start += RIGHT) {
      visit(place, head, first, start, info.seen.x, false, invocation);
    }
  }
  if (WINDOW) {
    let last = min(first + LEFT, end) - 1u;
    let runs = runs_of(first, last);
    for (var number = 0u; number < runs; number++) {
      let run = run_of(first, last, number, place.keys);
      see_run(place, own, run);
      for (var start = run.x; start < run.y; start += RIGHT) {
        visit(place, head, first, start, run.y, true, invocation);
      }
    }
  }
}
