// Counts of slots become places: sums of all counts before. Body; pf32.wgsl comes first (unused here but for the binding).
//
// Equation   counts[e][block] = sum of the counts before it, by expert, then by block; offsets[e] = counts[e][0], offsets[E] = all.
// Work       One invocation: at most 64 blocks an expert.

struct Params {
  E: u32,
  blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;
@group(0) @binding(3) var<storage, read_write> offsets: array<u32>;

@compute @workgroup_size(1)
fn main() {
  var total = 0u;
  for (var e = 0u; e < params.E; e++) {
    offsets[e] = total;
    for (var b = 0u; b < params.blocks; b++) {
      let own = counts[e * params.blocks + b];
      counts[e * params.blocks + b] = total;
      total += own;
    }
  }
  offsets[params.E] = total;
}
