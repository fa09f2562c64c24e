// GELU with tanh. Body; pf32.wgsl comes first.
//
// Equation   u = k0 * (x + k1 * ((x * x) * x)); y = (0.5 * x) * (1 + tanh(u)).
// Work       One invocation an element.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

const k0 = 0x3f4c422au;
const k1 = 0x3d372713u;

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
  let v = x[i];
  let t = tanh_(mul(k0, add(v, mul(k1, mul(mul(v, v), v)))));
  y[i] = mul(mul(half, v), add(one, t));
}
