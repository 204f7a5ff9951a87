// Replaces each count by the sum of those before it. One workgroup, of which each invocation takes
// neighbouring counts.
@group(0) @binding({{ counts_binding }}) var<storage, read_write> counts: array<u32>;

var<workgroup> sums: array<u32, INVOCATIONS>;

@compute @workgroup_size({{ invocations }})
fn main(@builtin(local_invocation_index) invocation: u32) {
  let share = (info.batch.z + INVOCATIONS - 1u) / INVOCATIONS;
  let first = min(invocation * share, info.batch.z);
  let end = min(first + share, info.batch.z);
  var own = 0u;
  for (var i = first; i < end; i++) { own += counts[i]; }
  sums[invocation] = own;
  for (var reach = 1u; reach < INVOCATIONS; reach *= 2u) {
    workgroupBarrier();
    let left = sums[max(invocation, reach) - reach];
    workgroupBarrier();
    if (invocation >= reach) { sums[invocation] += left; }
  }
  var before = sums[invocation] - own;
  for (var i = first; i < end; i++) {
    let count = counts[i];
    counts[i] = before;
    before += count;
  }
}
