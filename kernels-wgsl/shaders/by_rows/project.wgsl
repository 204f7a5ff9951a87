// Parts of the landmarks: over the tokens of one task, [Σ p·K | Σ p·V | largest score, Σ p], with
// p = exp(score − largest); `project_merge` brings the parts of a document together.
//
// An invocation owns GROUP landmarks of one head and goes through a task's tokens, whose rows its
// neighbours read at the same time.
@group(0) @binding({{ scores_binding }}) var<storage, read_write> scores: array<{{ element }}>;
@group(0) @binding({{ parts_binding }}) var<storage, read_write> parts: array<vec4<f32>>;

var<private> key_sums: array<array<vec4<f32>, D4>, GROUP>;
var<private> value_sums: array<array<vec4<f32>, D4>, GROUP>;
var<private> weights: array<vec4<f32>, GROUP>;
var<private> largest: array<f32, GROUP>;
var<private> total: array<f32, GROUP>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  let groups = (info.seen.x + GROUP - 1u) / GROUP;
  if (i >= info.batch.z * groups) { return; }
  let first = i % groups * GROUP;
  let head = i / groups % info.batch.x;
  let task = i / groups / info.batch.x;
  let place = place_of(task);
  let strides = info.strides[0];
  for (var g = 0u; g < GROUP; g++) {
    largest[g] = HIDDEN;
    total[g] = 0.0;
    for (var c = 0u; c < D4; c++) {
      key_sums[g][c] = vec4<f32>(0.0);
      value_sums[g][c] = vec4<f32>(0.0);
    }
  }
  let end = min(place.first + TASK, place.length);
  for (var t = place.first; t < end; t += 4u) {
    let wanted = vec4<u32>(t, t + 1u, t + 2u, t + 3u);
    let inside = min(wanted, vec4<u32>(end - 1u));
    let tokens = inside + place.start;
    var seen = wanted < vec4<u32>(end);
    if (PADDED) {
      seen = seen & vec4<bool>(
        is_real(place, inside.x), is_real(place, inside.y), is_real(place, inside.z), is_real(place, inside.w),
      );
    }
    for (var g = 0u; g < GROUP; g++) {
      let landmark = min(first + g, info.seen.x - 1u);
      let row = place.row * strides.x + head * strides.y + landmark * strides.z;
      let at = row + tokens * strides.w;
      let found = vec4<f32>(f32(scores[at.x]), f32(scores[at.y]), f32(scores[at.z]), f32(scores[at.w]));
      let score = select(vec4<f32>(HIDDEN), found, seen);
      let top = max(max(largest[g], max(score.x, score.y)), max(score.z, score.w));
      weights[g] = select(vec4<f32>(0.0), exp(score - top), seen);
      let fade = exp(largest[g] - top);
      largest[g] = top;
      total[g] = total[g] * fade + dot(weights[g], vec4<f32>(1.0));
      for (var c = 0u; c < D4; c++) {
        key_sums[g][c] *= fade;
        value_sums[g][c] *= fade;
      }
    }
    let k0_row = key_row(place.row, head, tokens.x);
    let k1_row = key_row(place.row, head, tokens.y);
    let k2_row = key_row(place.row, head, tokens.z);
    let k3_row = key_row(place.row, head, tokens.w);
    let v0_row = value_row(place.row, head, tokens.x);
    let v1_row = value_row(place.row, head, tokens.y);
    let v2_row = value_row(place.row, head, tokens.z);
    let v3_row = value_row(place.row, head, tokens.w);
    for (var c = 0u; c < D4; c++) {
      let k0 = key_at(k0_row, c);
      let k1 = key_at(k1_row, c);
      let k2 = key_at(k2_row, c);
      let k3 = key_at(k3_row, c);
      let v0 = value_at(v0_row, c);
      let v1 = value_at(v1_row, c);
      let v2 = value_at(v2_row, c);
      let v3 = value_at(v3_row, c);
      for (var g = 0u; g < GROUP; g++) {
        let p = weights[g];
        key_sums[g][c] += p.x * k0 + p.y * k1 + p.z * k2 + p.w * k3;
        value_sums[g][c] += p.x * v0 + p.y * v1 + p.z * v2 + p.w * v3;
      }
    }
  }
  for (var g = 0u; g < GROUP; g++) {
    let landmark = first + g;
    if (landmark < info.seen.x) {
      let row = ((task * info.batch.x + head) * info.seen.x + landmark) * (2u * D4 + 1u);
      for (var c = 0u; c < D4; c++) {
        parts[row + c] = key_sums[g][c];
        parts[row + D4 + c] = value_sums[g][c];
      }
      parts[row + 2u * D4] = vec4<f32>(largest[g], total[g], 0.0, 0.0);
    }
  }
}
