// Copies words (a mask, or the tables of packed documents) into the context, four an invocation.
@group(0) @binding(0) var<storage, read_write> words: array<u32>;

fn word_at(word: u32) -> u32 {
  return words[min(word, info.tasks.z - 1u)];
}

@compute @workgroup_size({{ invocations }})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) invocation: u32,
) {
  let i = (workgroup.x + workgroup.y * workgroups.x) * INVOCATIONS + invocation;
  if (i >= info.batch.w) { return; }
  context[(info.context.z >> 2u) + i] =
    vec4<u32>(word_at(4u * i), word_at(4u * i + 1u), word_at(4u * i + 2u), word_at(4u * i + 3u));
}
