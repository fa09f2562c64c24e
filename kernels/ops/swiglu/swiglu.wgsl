// SwiGLU forward. Body; pf32.wgsl comes first.
//
// Equation   y = clamp((gate * sigmoid(gate)) * up).
// Layout     gate, up: rows at strides; y [rows][cols].
// Work       One invocation an element.

struct Params {
  rows: u32,
  cols: u32,
  gate_offset: u32,
  gate_stride: u32,
  up_offset: u32,
  up_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate: array<u32>;
@group(0) @binding(3) var<storage, read> up: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.rows * params.cols) {
    return;
  }
  let row = i / params.cols;
  let c = i % params.cols;
  let g = gate[params.gate_offset + row * params.gate_stride + c];
  y[i] = limit(mul(silu_(g), up[params.up_offset + row * params.up_stride + c]));
}
