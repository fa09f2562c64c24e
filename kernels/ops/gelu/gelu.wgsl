// GELU with tanh. Body; pf32.wgsl comes first.
//
// Equation   u = k0 * (x + k1 * ((x * x) * x)); y = (0.5 * x) * (1 + tanh(u)).
// Raw        The cubic term reaches x only when x > 2^-14, far from any flush. u may be below 2^-100: tanh is then as small, which 1 + t does not see.
//            x / 2 below 2^-100 is multiplied by exactly 1. So one flush, at the end, is enough.
// Work       One invocation for 4 elements.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>;

const k0 = vec4u(0x3f4c422au);
const k1 = vec4u(0x3d372713u);

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
  let v = x[i];
  let t = tanh4(rmul4(k0, radd4(v, rmul4(k1, rmul4(rmul4(v, v), v)))));
  let value = mul4(rmul4(half4, v), radd4(one4, t));
  if (at + 4u <= params.size) {
    y[i] = value;
  } else {
    for (var k = 0u; k < params.size - at; k++) {
      y[i][k] = value[k];
    }
  }
}
