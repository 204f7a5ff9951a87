// Landmarks of one document and head in workgroup memory: keys, then values, of `STAGED` rows.

// Landmarks that are staged at a time.
const STAGED: u32 = {{ staged }}u;

var<workgroup> staged: array<vec4<f32>, {{ staged_vectors }}>;

// Fills rows `start..start + STAGED`, with zeros beyond the last landmark. All invocations take
// part; the caller stands between barriers.
fn stage(document: u32, head: u32, start: u32, invocation: u32) {
  let first = (document * info.batch.x + head) * info.seen.x * {{ row_vectors }}u;
  let end = first + info.seen.x * {{ row_vectors }}u;
  for (var i = invocation; i < {{ staged_vectors }}u; i += INVOCATIONS) {
    let vector = first + start * {{ row_vectors }}u + i;
    if (vector < end) {
      staged[i] = context_vector(vector);
    } else {
      staged[i] = vec4<f32>(0.0);
    }
  }
}
