var<workgroup> shared_place: array<Place, 1>;

// Where the workgroup's task lies, in a way that barriers may depend on.
fn place_of_workgroup(task: u32, invocation: u32) -> Place {
  if (!PACKED) { return place_in_row(task); }
  if (invocation == 0u) { shared_place[0] = place_of(task); }
  return workgroupUniformLoad(&shared_place)[0];
}
