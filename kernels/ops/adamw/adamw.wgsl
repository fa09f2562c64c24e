// AdamW on one tensor, in place. Body; pf32.wgsl comes first.
//
// Equation   g = g * grad_scale[0] where one is given; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * (g * g);
//            u = (m * bias1) * recip(sqrt(v * bias2) + eps);
//            p = clamp((p - (lr * weight_decay) * p) - lr * u). lr, bias1, bias2 are words 1, 2, 3 of `scalars`.
// Raw        The root is 0 or at least 2^-50, eps at least 2^-100, so their sum is above 2^-100, and below 2^64, so its reciprocal is not flushed.
// Work       One invocation for 4 elements.

struct Params {
  size: u32,
  beta1: u32,
  rest1: u32,
  beta2: u32,
  rest2: u32,
  eps: u32,
  weight_decay: u32,
  // Not 0: `grad_scale` is looked at.
  scaled: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> p: array<vec4u>;
@group(0) @binding(3) var<storage, read> g: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> m: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4u>;
@group(0) @binding(6) var<storage, read> scalars: array<u32>;
@group(0) @binding(7) var<storage, read> grad_scale: array<u32>;

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
  let lr = scalars[1];
  var gi = g[i];
  if (params.scaled != 0u) {
    gi = mul4(gi, vec4u(grad_scale[0]));
  }
  let mi = add4(mul4(vec4u(params.beta1), m[i]), mul4(vec4u(params.rest1), gi));
  let vi = add4(mul4(vec4u(params.beta2), v[i]), mul4(vec4u(params.rest2), mul4(gi, gi)));
  let root = radd4(sqrt4(mul4(vi, vec4u(scalars[3]))), vec4u(params.eps));
  let update = mul4(mul4(mi, vec4u(scalars[2])), recip_positive4(root));
  let pi = p[i];
  let decay = vec4u(mul(lr, params.weight_decay));
  let next = limit4(sub4(sub4(pi, mul4(decay, pi)), mul4(vec4u(lr), update)));
  if (at + 4u <= params.size) {
    m[i] = mi;
    v[i] = vi;
    p[i] = next;
  } else {
    for (var k = 0u; k < params.size - at; k++) {
      m[i][k] = mi[k];
      v[i][k] = vi[k];
      p[i][k] = next[k];
    }
  }
}
