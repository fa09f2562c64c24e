// One PF32 operation an element. Body; pf32.wgsl comes first.
//
// Equation   dst[i] = clamp(f(a[i], b[i])); f by kind: 0 a + b, 1 a - b, 2 a * factor, 3 sqrt(a).
// Raw        A root is 0 or at least 2^-50, a sum or product is flushed once.
// Work       One invocation for 4 elements; an operand that is dst itself is read from there (a_is_dst, b_is_dst), as no buffer may be bound twice.

struct Params {
  size: u32,
  factor: u32,
  kind: u32,
  a_is_dst: u32,
  b_is_dst: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<vec4u>;
@group(0) @binding(3) var<storage, read> b: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> dst: array<vec4u>;

fn operand_a(i: u32) -> vec4u {
  if (params.a_is_dst != 0u) {
    return dst[i];
  }
  return a[i];
}

fn operand_b(i: u32) -> vec4u {
  if (params.b_is_dst != 0u) {
    return dst[i];
  }
  return b[i];
}

fn apply(i: u32) -> vec4u {
  let x = operand_a(i);
  switch (params.kind) {
    case 0u: { return add4(x, operand_b(i)); }
    case 1u: { return sub4(x, operand_b(i)); }
    case 2u: { return mul4(x, vec4u(params.factor)); }
    default: { return sqrt4(x); }
  }
}

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
  let value = limit4(apply(i));
  if (at + 4u <= params.size) {
    dst[i] = value;
  } else {
    for (var k = 0u; k < params.size - at; k++) {
      dst[i][k] = value[k];
    }
  }
}
