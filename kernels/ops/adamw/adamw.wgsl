// AdamW on one tensor, in place. Body; pf32.wgsl comes first.
//
// Equation   g = g * grad_scale[0] where one is given; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * (g * g);
//            u = (m * bias1) * recip(sqrt(v * bias2) + eps);
//            p = clamp((p - (lr * weight_decay) * p) - lr * u). lr, bias1, bias2 are words 1, 2, 3 of `scalars`.
// Work       One invocation an element.

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
@group(0) @binding(2) var<storage, read_write> p: array<u32>;
@group(0) @binding(3) var<storage, read> g: array<u32>;
@group(0) @binding(4) var<storage, read_write> m: array<u32>;
@group(0) @binding(5) var<storage, read_write> v: array<u32>;
@group(0) @binding(6) var<storage, read> scalars: array<u32>;
@group(0) @binding(7) var<storage, read> grad_scale: array<u32>;

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
  let lr = scalars[1];
  var gi = g[i];
  if (params.scaled != 0u) {
    gi = mul(gi, grad_scale[0]);
  }
  let mi = add(mul(params.beta1, m[i]), mul(params.rest1, gi));
  let vi = add(mul(params.beta2, v[i]), mul(params.rest2, mul(gi, gi)));
  m[i] = mi;
  v[i] = vi;
  let update = mul(mul(mi, scalars[2]), recip_(add(sqrt_(mul(vi, scalars[3])), params.eps)));
  let pi = p[i];
  let decay = mul(lr, params.weight_decay);
  p[i] = limit(sub(sub(pi, mul(decay, pi)), mul(lr, update)));
}
