// Every function of pf32.wgsl by itself, for the tests. Body; pf32.wgsl comes first.
//
// Equation   y[i] = f(a[i], b[i], c[i]); f by KIND, in the order of math/gpu.ts.
// Work       One invocation an element.

override KIND: u32 = 0;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read> c: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;

fn apply(u: u32, v: u32, w: u32) -> u32 {
  switch (KIND) {
    case 0u: { return add(u, v); }
    case 1u: { return sub(u, v); }
    case 2u: { return mul(u, v); }
    case 3u: { return exp_(u); }
    case 4u: { return exp2_(u); }
    case 5u: { return recip_(u); }
    case 6u: { return rsqrt_(u); }
    case 7u: { return sqrt_(u); }
    case 8u: { return ln_(u); }
    case 9u: { return sigmoid_(u); }
    case 10u: { return silu_(u); }
    case 11u: { return tanh_(u); }
    case 12u: { return erf_(u); }
    case 13u: { return lowbias32(u); }
    default: { return round_sum(bitcast<i32>(u), v & 0xffffu, bitcast<i32>(w)); }
  }
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i < params.size) {
    y[i] = apply(a[i], b[i], c[i]);
  }
}
