// One PF32 operation an element. Body; pf32.wgsl comes first.
//
// Equation   dst[i] = clamp(f(a[i], b[i])); f by KIND: 0 a + b, 1 a - b, 2 a * factor, 3 sqrt(a).
// Work       One invocation an element; an operand that is dst itself is read from there (A_IS_DST, B_IS_DST), as no buffer may be bound twice.

override KIND: u32 = 0;
override A_IS_DST: bool = false;
override B_IS_DST: bool = false;

struct Params {
  size: u32,
  factor: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

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
  var x: u32;
  if (A_IS_DST) {
    x = dst[i];
  } else {
    x = a[i];
  }
  if (KIND == 2u) {
    dst[i] = limit(mul(x, params.factor));
    return;
  }
  if (KIND == 3u) {
    dst[i] = limit(sqrt_(x));
    return;
  }
  var y: u32;
  if (B_IS_DST) {
    y = dst[i];
  } else {
    y = b[i];
  }
  if (KIND == 0u) {
    dst[i] = limit(add(x, y));
  } else {
    dst[i] = limit(sub(x, y));
  }
}
