// One PF32 operation an element. Body; pf32.wgsl comes first.
//
// Equation   dst[i] = clamp(f(a[i], b[i])); f by kind: 0 a + b, 1 a - b, 2 a * factor, 3 sqrt(a).
// Work       One invocation an element; an operand that is dst itself is read from there (a_is_dst, b_is_dst), as no buffer may be bound twice.

struct Params {
  size: u32,
  factor: u32,
  kind: u32,
  a_is_dst: u32,
  b_is_dst: u32,
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
  if (params.a_is_dst != 0u) {
    x = dst[i];
  } else {
    x = a[i];
  }
  if (params.kind == 2u) {
    dst[i] = limit(mul(x, params.factor));
    return;
  }
  if (params.kind == 3u) {
    dst[i] = limit(sqrt_(x));
    return;
  }
  var y: u32;
  if (params.b_is_dst != 0u) {
    y = dst[i];
  } else {
    y = b[i];
  }
  if (params.kind == 0u) {
    dst[i] = limit(add(x, y));
  } else {
    dst[i] = limit(sub(x, y));
  }
}
