// A document's tasks: the first, and the one after the last.
fn tasks_of(document: u32) -> vec2<u32> {
  if (PACKED) {
    let entry = info.context.z + 4u * document;
    let first = context_word(entry + {{ first_task_column }}u);
    return vec2<u32>(first, first + (context_word(entry + 1u) + TASK - 1u) / TASK);
  }
  return vec2<u32>(document, document + 1u) * info.tasks.x;
}
