// Embedding backward, second half: the integer sums become f32, and the scratch is 0 again. Body; pf32.wgsl comes first.
//
// Equation   dst[v][c] = clamp(dst[v][c] + ROUND(sums[v][c], E[c] - nb)), or without the first term unless accumulate.
// Work       One invocation an element.

struct Params {
  channels: u32,
  size: u32,
  nb: i32,
  accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> sums: array<i32>;
@group(0) @binding(3) var<storage, read> exponents: array<i32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.size) {
    return;
  }
  let s = sums[i];
  sums[i] = 0;
  var value = round_sum(s >> 16u, u32(s) & 0xffffu, exponents[i % params.channels] - params.nb);
  if (params.accumulate != 0u) {
    value = limit(add(dst[i], value));
  }
  dst[i] = value;
}
