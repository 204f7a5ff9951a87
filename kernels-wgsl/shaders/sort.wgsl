// What the kernels of a sort share. Tokens are sorted by id, those of one id in their order, a
// digit of five bits a pass, the least significant first. A workgroup takes a block of tokens, of
// which each invocation takes GROUP neighbours.
const DIGITS: u32 = 32u;

@group(0) @binding({{ ids_binding }}) var<storage, read_write> ids: array<u32>;
// Ids and tokens in the order of the pass before.
@group(0) @binding({{ pairs_binding }}) var<storage, read_write> pairs: array<vec2<u32>>;
// Of each digit how many tokens of each block have it, `[digits, blocks]`; behind the scan, where
// in the new order the first of them stands.
@group(0) @binding({{ counts_binding }}) var<storage, read_write> counts: array<u32>;

// The same of each invocation, `[invocations, digits]`.
var<workgroup> tallies: array<u32, DIGITS * INVOCATIONS>;

fn pair_at(i: u32) -> vec2<u32> {
  if (info.tasks.y == 0u) { return vec2<u32>(min(ids[i], info.keys.x - 1u), i); }
  return pairs[i];
}

fn digit_of(pair: vec2<u32>) -> u32 {
  return (pair.x >> info.tasks.y) % DIGITS;
}

// The invocation's tokens: the first, and the one after the last.
fn own_tokens(block: u32, invocation: u32) -> vec2<u32> {
  let first = (block * INVOCATIONS + invocation) * GROUP;
  return vec2<u32>(first, min(first + GROUP, info.batch.z));
}

fn tally(own: vec2<u32>, invocation: u32) {
  let tallies_at = invocation * DIGITS;
  for (var digit = 0u; digit < DIGITS; digit++) { tallies[tallies_at + digit] = 0u; }
  for (var i = own.x; i < own.y; i++) { tallies[tallies_at + digit_of(pair_at(i))] += 1u; }
}
