// Counts the digits of each block.
@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let block = workgroup_of(grid);
  tally(own_tokens(block, invocation), invocation);
  workgroupBarrier();
  if (invocation < DIGITS && block < info.tasks.x) {
    var count = 0u;
    for (var other = 0u; other < INVOCATIONS; other++) {
      count += tallies[other * DIGITS + invocation];
    }
    counts[invocation * info.tasks.x + block] = count;
  }
}
