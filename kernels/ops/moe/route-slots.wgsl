// Sorting slots by expert, stably: counts of each expert in each block of slots, and later the places. Body; pf32.wgsl comes first.
//
// Equation   PLACE false: counts[e][block] = number of the block's slots whose id is e. PLACE true: counts hold where the first of them goes;
//            order[place] = slot, places[slot] = place.
// Work       One invocation an expert and block: it walks the block's slots in order, so no atomics.

override PLACE: bool = false;

struct Params {
  slots: u32,
  E: u32,
  blocks: u32,
  // Slots in a block.
  span: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
@group(0) @binding(4) var<storage, read_write> sorted: array<u32>;
@group(0) @binding(5) var<storage, read_write> places: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let i = (group.y * grid.x + group.x) * 64u + local;
  if (i >= params.E * params.blocks) {
    return;
  }
  let expert = i / params.blocks;
  let start = (i % params.blocks) * params.span;
  let end = min(start + params.span, params.slots);
  var at = 0u;
  if (PLACE) {
    at = counts[i];
  }
  for (var s = start; s < end; s++) {
    if (ids[s] == expert) {
      if (PLACE) {
        sorted[at] = s;
        places[s] = at;
      }
      at++;
    }
  }
  if (!PLACE) {
    counts[i] = at;
  }
}
