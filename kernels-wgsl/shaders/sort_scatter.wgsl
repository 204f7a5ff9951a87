// Puts the tokens of each block where their digits belong.
@group(0) @binding({{ sorted_binding }}) var<storage, read_write> sorted: array<vec2<u32>>;

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let block = workgroup_of(grid);
  let own = own_tokens(block, invocation);
  tally(own, invocation);
  workgroupBarrier();
  if (invocation < DIGITS && block < info.tasks.x) {
    var place = counts[invocation * info.tasks.x + block];
    for (var other = 0u; other < INVOCATIONS; other++) {
      let count = tallies[other * DIGITS + invocation];
      tallies[other * DIGITS + invocation] = place;
      place += count;
    }
  }
  workgroupBarrier();
  for (var i = own.x; i < own.y; i++) {
    let pair = pair_at(i);
    let digit = invocation * DIGITS + digit_of(pair);
    sorted[tallies[digit]] = pair;
    tallies[digit] += 1u;
  }
}
