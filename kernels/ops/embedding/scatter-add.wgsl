// Embedding backward, first half: integers of equal index are summed. Body; pf32.wgsl comes first (unused here but for the binding).
//
// Equation   sums[indices[m]][c] += q[c][m]: i32, so the order of the atomics does not matter.
// Layout     q [C][stride] f32 that hold integers; sums [rows][C], all 0 before. An index past the end adds to nothing.
// Work       One invocation an element, neighbours in neighbouring channels: they never meet in one word.

struct Params {
  channels: u32,
  positions: u32,
  stride: u32,
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> indices: array<u32>;
@group(0) @binding(4) var<storage, read_write> sums: array<atomic<i32>>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.channels * params.positions) {
    return;
  }
  let c = i % params.channels;
  let m = i / params.channels;
  let index = indices[m];
  if (index < params.size / params.channels) {
    atomicAdd(&sums[index * params.channels + c], i32(q[c * params.stride + m]));
  }
}
