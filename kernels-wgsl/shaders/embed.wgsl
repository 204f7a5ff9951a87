// Embeddings of tokens and of their positions, added: an invocation a vector of a token.
@group(0) @binding({{ ids_binding }}) var<storage, read_write> ids: array<u32>;
// The first token of each document.
@group(0) @binding({{ starts_binding }}) var<storage, read_write> starts: array<u32>;

// A token's position in its document.
fn position_of(place: u32) -> u32 {
  var document = 0u;
  var end = info.tasks.x;
  while (document + 1u < end) {
    let middle = (document + end) / 2u;
    if (starts[middle] <= place) { document = middle; } else { end = middle; }
  }
  return place - starts[document];
}

@compute @workgroup_size({{ invocations }})
fn main(grid: Grid, @builtin(local_invocation_index) invocation: u32) {
  let i = entry_of(grid, invocation);
  if (i >= info.batch.z) { return; }
  let place = i / D4;
  let c = i % D4;
  let token = token_row(0u, 0u, min(ids[place], info.keys.x - 1u));
  let position = position_row(0u, 0u, min(position_of(place), info.keys.y - 1u));
  y_put(y_row(0u, 0u, place), c, token_at(token, c) + position_at(position, c));
}
