// SwiGLU backward. Body; pf32.wgsl comes first.
//
// Equation   s = sigmoid(gate); dgate = clamp((dy * up) * (s * (1 + gate * (1 - s)))); dup = clamp(dy * (gate * s)).
// Layout     gate, up, dgate, dup: rows at strides; dy [rows][cols].
// Work       One invocation an element. Gradients that share a tensor are both written to dgate.

struct Params {
  rows: u32,
  cols: u32,
  gate_offset: u32,
  gate_stride: u32,
  up_offset: u32,
  up_stride: u32,
  dgate_offset: u32,
  dgate_stride: u32,
  dup_offset: u32,
  dup_stride: u32,
  // dup lies in dgate's tensor.
  shared_tensor: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate: array<u32>;
@group(0) @binding(3) var<storage, read> up: array<u32>;
@group(0) @binding(4) var<storage, read> dy: array<u32>;
@group(0) @binding(5) var<storage, read_write> dgate: array<u32>;
@group(0) @binding(6) var<storage, read_write> dup: array<u32>;

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
  let u = up[params.up_offset + row * params.up_stride + c];
  let s = sigmoid_(g);
  let slope = mul(s, add(one, mul(g, sub(one, s))));
  dgate[params.dgate_offset + row * params.dgate_stride + c] = limit(mul(mul(dy[i], u), slope));
  let value = limit(mul(dy[i], mul(g, s)));
  let at = params.dup_offset + row * params.dup_stride + c;
  if (params.shared_tensor != 0u) {
    dgate[at] = value;
  } else {
    dup[at] = value;
  }
}
