// What is done to the rounded sums of a product. Body; pf32.wgsl comes first.
//
// Equation   y = clamp(r + bias[n]), kept as the preactivation where asked for; y = gelu(y), silu(y), or a gradient d(x, y); dst = clamp(residual + y);
//            gemm/spec.ts. gelu and its gradient as in gelu.wgsl and gelu-grad.wgsl, silu as in swiglu/spec.ts.
// Layout     sums [batch][M][N]; x, residual, preactivation and dst: strides, two batch dimensions; bias [N].
// Raw        Why the inner steps need no flush: gelu.wgsl, gelu-grad.wgsl.
// Work       One invocation for 4 neighbours of a row, of which the last may be past its end.
// Measured   GELU and its gradient at [512, 512] on SwiftShader: 154 ns of CPU an element one by one, 50 four at once.

// 0: none, 1: gelu, 2: silu, 3 and 4: their gradients.
override KIND: u32 = 0;
override BIASED: u32 = 0;
// 1: what the activation is applied to is kept.
override KEEP: u32 = 0;
// 0: none, 1: added from dst itself, 2: from `residual`.
override RESIDUAL: u32 = 0;

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> sums: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read> x: array<u32>;
@group(0) @binding(5) var<storage, read> residual: array<u32>;
@group(0) @binding(6) var<storage, read_write> preactivation: array<u32>;
@group(0) @binding(7) var<storage, read_write> dst: array<u32>;

const k0 = vec4u(0x3f4c422au);
const k1 = vec4u(0x3d372713u);
const k3 = vec4u(0x3e095d4fu);

fn gelu_tanh4(v: vec4u, squared: vec4u) -> vec4u {
  return tanh4(rmul4(k0, radd4(v, rmul4(k1, rmul4(squared, v)))));
}

fn gelu4(v: vec4u) -> vec4u {
  return mul4(rmul4(half4, v), radd4(one4, gelu_tanh4(v, rmul4(v, v))));
}

fn gelu_grad4(v: vec4u, g: vec4u) -> vec4u {
  let squared = rmul4(v, v);
  let t = gelu_tanh4(v, squared);
  let slope = rmul4(k0, radd4(one4, rmul4(k3, squared)));
  let bend = rmul4(rmul4(rmul4(half4, v), rsub4(one4, rmul4(t, t))), slope);
  return mul4(g, radd4(rmul4(half4, radd4(one4, t)), bend));
}

fn sigmoid4(v: vec4u) -> vec4u {
  return recip4(add4(one4, exp4(v ^ vec4u(sign_bit))));
}

fn silu_grad4(v: vec4u, g: vec4u) -> vec4u {
  let s = sigmoid4(v);
  return mul4(g, mul4(s, add4(one4, mul4(v, sub4(one4, s)))));
}

// Element k of a row that ends after `count` is read as its last one.
fn places(at: u32, count: u32, stride: u32) -> vec4u {
  return at + min(vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u)) * stride;
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 64u + local;
  let quads = (params.N + 3u) / 4u;
  if (i >= params.batch * params.M * quads) {
    return;
  }
  let n = (i % quads) * 4u;
  let m = (i / quads) % params.M;
  let batch = i / (quads * params.M);
  let count = min(params.N - n, 4u);
  let source = places((batch * params.M + m) * params.N + n, count, 1u);
  let at = places(
    params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 + m * params.row_stride +
      n * params.col_stride,
    count,
    params.col_stride,
  );
  var y = vec4u(sums[source.x], sums[source.y], sums[source.z], sums[source.w]);
  if (BIASED == 1u) {
    let b = places(n, count, 1u);
    y = limit4(add4(y, vec4u(bias[b.x], bias[b.y], bias[b.z], bias[b.w])));
  }
  if (KEEP == 1u) {
    for (var k = 0u; k < count; k++) {
      preactivation[at[k]] = y[k];
    }
  }
  if (KIND == 1u) {
    y = gelu4(y);
  }
  if (KIND == 2u) {
    y = mul4(y, sigmoid4(y));
  }
  if (KIND >= 3u) {
    let v = vec4u(x[at.x], x[at.y], x[at.z], x[at.w]);
    if (KIND == 3u) {
      y = gelu_grad4(v, y);
    } else {
      y = silu_grad4(v, y);
    }
  }
  if (RESIDUAL == 1u) {
    y = limit4(add4(vec4u(dst[at.x], dst[at.y], dst[at.z], dst[at.w]), y));
  }
  if (RESIDUAL == 2u) {
    y = limit4(add4(vec4u(residual[at.x], residual[at.y], residual[at.z], residual[at.w]), y));
  }
  for (var k = 0u; k < count; k++) {
    dst[at[k]] = y[k];
  }
}
