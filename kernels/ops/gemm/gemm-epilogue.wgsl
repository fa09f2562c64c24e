// What is done to the rounded sums of a product. Body; pf32.wgsl comes first.
//
// Equation   y = clamp(r + bias[n]), kept as the preactivation where asked for; y = gelu(y), silu(y), or a gradient d(x, y); dst = clamp(residual + y);
//            gemm/spec.ts. gelu and its gradient as in gelu.wgsl and gelu-grad.wgsl, silu as in swiglu/spec.ts.
// Layout     sums [batch][M][N]; x, residual, preactivation and dst: strides, two batch dimensions; bias [N].
// Work       One invocation an element.

struct Params {
  offset: u32,
  s0: u32,
  n1: u32,
  s1: u32,
  row_stride: u32,
  col_stride: u32,
  M: u32,
  N: u32,
  batch: u32,
  biased: u32,
  // 0: none, 1: gelu, 2: silu, 3 and 4: their gradients.
  kind: u32,
  keep: u32,
  // 0: none, 1: added from dst itself, 2: from `residual`.
  residual: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> sums: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read> x: array<u32>;
@group(0) @binding(5) var<storage, read> residual: array<u32>;
@group(0) @binding(6) var<storage, read_write> preactivation: array<u32>;
@group(0) @binding(7) var<storage, read_write> dst: array<u32>;

const k0 = 0x3f4c422au;
const k1 = 0x3d372713u;
const k3 = 0x3e095d4fu;

fn gelu_tanh(v: u32) -> u32 {
  return tanh_(mul(k0, add(v, mul(k1, mul(mul(v, v), v)))));
}

fn gelu(v: u32) -> u32 {
  return mul(mul(half, v), add(one, gelu_tanh(v)));
}

fn gelu_grad(v: u32, g: u32) -> u32 {
  let t = gelu_tanh(v);
  let slope = mul(k0, add(one, mul(k3, mul(v, v))));
  let bend = mul(mul(mul(half, v), sub(one, mul(t, t))), slope);
  return mul(g, add(mul(half, add(one, t)), bend));
}

fn silu_grad(v: u32, g: u32) -> u32 {
  let s = sigmoid_(v);
  return mul(g, mul(s, add(one, mul(v, sub(one, s)))));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.batch * params.M * params.N) {
    return;
  }
  let n = i % params.N;
  let m = (i / params.N) % params.M;
  let batch = i / (params.N * params.M);
  let at = params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 +
    m * params.row_stride + n * params.col_stride;
  var y = sums[i];
  if (params.biased != 0u) {
    y = limit(add(y, bias[n]));
  }
  if (params.keep != 0u) {
    preactivation[at] = y;
  }
  switch (params.kind) {
    case 1u: { y = gelu(y); }
    case 2u: { y = silu_(y); }
    case 3u: { y = gelu_grad(x[at], y); }
    case 4u: { y = silu_grad(x[at], y); }
    default: {}
  }
  if (params.residual == 1u) {
    y = limit(add(dst[at], y));
  } else if (params.residual == 2u) {
    y = limit(add(residual[at], y));
  }
  dst[at] = y;
}
