// The outer optimiser's step. Body; pf32.wgsl comes first.
//
// Equation   m = clamp(mu * m + d); p = clamp(p + lr * (d + mu * m)); every operation is one PF32 operation.
// Work       One invocation for 4 elements, in place in p and momentum.

struct Params {
  size: u32,
  lr: u32,
  mu: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> p: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> momentum: array<vec4u>;
@group(0) @binding(4) var<storage, read> delta: array<vec4u>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 64u + local;
  let at = i * 4u;
  if (at >= params.size) {
    return;
  }
  let d = delta[i];
  let mu = vec4u(params.mu);
  let m = limit4(add4(mul4(mu, momentum[i]), d));
  let next = limit4(add4(p[i], mul4(vec4u(params.lr), add4(d, mul4(mu, m)))));
  if (at + 4u <= params.size) {
    momentum[i] = m;
    p[i] = next;
  } else {
    for (var k = 0u; k < params.size - at; k++) {
      momentum[i][k] = m[k];
      p[i][k] = next[k];
    }
  }
}
