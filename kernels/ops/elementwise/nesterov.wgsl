// The outer optimiser's step. Body; pf32.wgsl comes first.
//
// Equation   m = clamp(mu * m + d); p = clamp(p + lr * (d + mu * m)); every operation is one PF32 operation.
// Work       One invocation an element, in place in p and momentum.

struct Params {
  size: u32,
  lr: u32,
  mu: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> p: array<u32>;
@group(0) @binding(3) var<storage, read_write> momentum: array<u32>;
@group(0) @binding(4) var<storage, read> delta: array<u32>;

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
  let d = delta[i];
  let m = limit(add(mul(params.mu, momentum[i]), d));
  momentum[i] = m;
  p[i] = limit(add(p[i], mul(params.lr, add(d, mul(params.mu, m)))));
}
