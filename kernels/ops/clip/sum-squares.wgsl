// Sums of squares over blocks of 4096 values. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   dst[at + b] = sum of src[i] * src[i] over block b of the first `count` values.
// Work       LANES invocations a block. A longer sum is a sum of these sums: see gpu.ts.

struct Params {
  count: u32,
  at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

fn term(which: u32, i: u32) -> u32 {
  let x = src[i];
  return mul(x, x);
}

@compute @workgroup_size(LANES, SLOTS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let block = begin(group, grid, local.x, local.y, (params.count + 4095u) / 4096u);
  let start = block * 4096u;
  let total = tree_sum(lane_sum(0u, start, min(params.count, start + 4096u)));
  if (live && lane == 0u) {
    dst[params.at + block] = total;
  }
}
