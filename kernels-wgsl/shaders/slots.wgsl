// Sums of many vectors: LANES neighbouring invocations take vectors side by side, and each of the
// SLOTS of a workgroup takes a share of what is added to them.
const LANES: u32 = {{ lanes }}u;
const SLOTS: u32 = INVOCATIONS / LANES;

var<workgroup> slot_sums: array<vec4<f32>, INVOCATIONS>;

// The sum over the slots of a lane, for slot 0. All invocations of a workgroup have to call it
// together.
fn sum_of_slots(own: vec4<f32>, invocation: u32) -> vec4<f32> {
  workgroupBarrier();
  slot_sums[invocation] = own;
  for (var half = SLOTS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (invocation < half * LANES) {
      slot_sums[invocation] += slot_sums[invocation + half * LANES];
    }
  }
  return slot_sums[invocation];
}
