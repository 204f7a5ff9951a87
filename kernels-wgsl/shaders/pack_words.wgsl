// Copies words (a mask, or the tables of packed documents) into the context, four an invocation.
@group(0) @binding({{ words_binding }}) var<storage, read_write> words: array<u32>;

fn word_at(word: u32) -> u32 {
  return words[min(word, info.tasks.y - 1u)];
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  context[(info.context.y >> 2u) + i] =
    vec4<u32>(word_at(4u * i), word_at(4u * i + 1u), word_at(4u * i + 2u), word_at(4u * i + 3u));
}
