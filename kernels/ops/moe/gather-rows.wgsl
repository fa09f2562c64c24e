// Rows of tokens, sorted by expert. Body; pf32.wgsl comes first (unused here but for the binding).
//
// Equation   dst[r][c] = src[order[r] div k][c].
// Layout     src [M][cols]; order [slots]; dst [slots][cols].
// Work       One invocation an element.

struct Params {
  slots: u32,
  k: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.slots * params.cols) {
    return;
  }
  let token = min(slots[i / params.cols] / params.k, params.slots / params.k - 1u);
  dst[i] = src[token * params.cols + i % params.cols];
}
