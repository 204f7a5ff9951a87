// What every kernel shares: constants of the variant, the info block, the context buffer and where
// a task's document lies.

// Vectors of four channels a row.
const D4: u32 = {{ d4 }}u;
// Invocations of a workgroup, and rows that each of them owns.
const INVOCATIONS: u32 = {{ invocations }}u;
const GROUP: u32 = {{ group }}u;
// Tokens of a document that make up a task.
const TASK: u32 = {{ task }}u;
// Scores that no softmax notices, and no arithmetic turns into infinity.
const HIDDEN: f32 = -3.0e38;
// How documents lie in the batch.
const PADDED: bool = {{ padded }};
const PACKED: bool = {{ packed }};

struct Info {
  // heads, tokens of a row of the batch, tasks or entries
  batch: vec4<u32>,
  // landmarks; and of the window's pattern: of segments width, halo and reach, of causal windows
  // width, of grids columns, side of a tile and halo
  seen: vec4<u32>,
  // keys of a row of the batch, those in front of the first query, the window's offsets, vectors of a row;
  // of embeddings rows of the tables of tokens and of positions; inputs of a linear layer
  keys: vec4<u32>,
  // landmarks that all queries see; queries of a chunk and its landmarks; entries of a table by offset
  // (columns of a table that is copied)
  chunks: vec4<u32>,
  // first words in the context of the bias, the mask, the table of documents, that of tasks
  context: vec4<u32>,
  // tasks of a document; words that are copied; in the context the first vector of the relative keys and
  // the first word of the landmarks' bias; of embeddings documents; of a sort blocks and the first bit of
  // a digit; of a linear layer splits and the rows of one
  tasks: vec4<u32>,
  // seed, threshold, and as float32 the factor of kept entries and the scale of scores (of a
  // LayerNorm its ε)
  dropout: vec4<u32>,
  // strides of tensors, in elements: batch row, head, token, channel
  strides: array<vec4<u32>, 8>,
}
@group(0) @binding({{ info_binding }}) var<uniform> info: Info;

// Everything small that a kernel reads: first landmark rows, the landmarks' bias and the tables by offset
// (float32), then the mask and the tables of packed documents, as words.
@group(0) @binding({{ context_binding }}) var<storage, read_write> context: array<vec4<u32>>;

// Workgroups lie in two dimensions, since one takes no more than 65535 of them. The invocation's own
// place is not among these: a structure with one such member counts as non-uniform, and barriers
// may not depend on it.
struct Grid {
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
}

fn workgroup_of(grid: Grid) -> u32 {
  return grid.workgroup.x + grid.workgroup.y * grid.workgroups.x;
}

// The invocation's number among all, for kernels with an invocation an entry.
fn entry_of(grid: Grid, invocation: u32) -> u32 {
  return workgroup_of(grid) * INVOCATIONS + invocation;
}

fn context_word(word: u32) -> u32 {
  return context[word >> 2u][word & 3u];
}

fn context_vector(vector: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(context[vector]);
}

// Where a task's tokens are.
struct Place {
  document: u32,
  // Row of the batch, and the row's token that is the document's first.
  row: u32,
  start: u32,
  // The task's first token, counted from the document's first, and how many the document has.
  first: u32,
  length: u32,
  // How many keys it has: as many, but where queries and keys differ in number.
  keys: u32,
}

fn place_of(task: u32) -> Place {
  if (PACKED) {
    let document = context_word(info.context.w + task);
    let entry = info.context.z + 4u * document;
    let first = (task - context_word(entry + {{ first_task_column }}u)) * TASK;
    let length = context_word(entry + 1u);
    return Place(document, 0u, context_word(entry), first, length, length);
  }
  return place_in_row(task);
}

// The same where a document is a row of the batch. Barriers may depend on it.
fn place_in_row(task: u32) -> Place {
  let document = task / info.tasks.x;
  return Place(document, document, 0u, (task % info.tasks.x) * TASK, info.batch.y, info.keys.x);
}

// Whether a token of the place's document is real.
fn is_real(place: Place, token: u32) -> bool {
  if (PADDED) {
    return context_word(info.context.y + place.row * info.batch.y + token) != 0u;
  }
  return true;
}

// Position of a token in a contiguous tensor `[rows of the batch, heads, tokens]`.
fn token_position(place: Place, head: u32, token: u32) -> u32 {
  return (place.row * info.batch.x + head) * info.batch.y + place.start + token;
}
