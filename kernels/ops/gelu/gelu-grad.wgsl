// GELU backward. Body; pf32.wgsl comes first.
//
// Equation   t = tanh(k0 * (x + k1 * ((x * x) * x))); slope = k0 * (1 + k3 * (x * x));
//            dx = dy * (0.5 * (1 + t) + ((0.5 * x) * (1 - t * t)) * slope).
// Work       One invocation an element; dy is read from dx where they are one tensor.

struct Params {
  size: u32,
  // dy is dx.
  in_place: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> dy: array<u32>;
@group(0) @binding(4) var<storage, read_write> dx: array<u32>;

const k0 = 0x3f4c422au;
const k1 = 0x3d372713u;
const k3 = 0x3e095d4fu;

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
  let slope = mul(k0, add(one, mul(k3, mul(v, v))));
  let bend = mul(mul(mul(half, v), sub(one, mul(t, t))), slope);
  var g: u32;
  if (params.in_place != 0u) {
    g = dx[i];
  } else {
    g = dy[i];
  }
  dx[i] = mul(g, add(mul(half, add(one, t)), bend));
}
