// GELU backward. Body; pf32.wgsl comes first.
//
// Equation   t = tanh(k0 * (x + k1 * ((x * x) * x))); slope = k0 * (1 + k3 * (x * x));
//            dx = dy * (0.5 * (1 + t) + ((0.5 * x) * (1 - t * t)) * slope).
// Raw        As in gelu.wgsl; (1 + t) / 2 is 0 or at least 2^-26, and 1 - t * t is 0 with it or at least 2^-24; so a product of x / 2, 1 - t * t and the
//            slope that is flushed anywhere is below 2^-100 in the end, and the sum does not see it.
// Work       One invocation for 4 elements; dy is read from dx where they are one tensor.

struct Params {
  size: u32,
  // dy is dx.
  in_place: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4u>;
@group(0) @binding(3) var<storage, read> dy: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4u>;

const k0 = vec4u(0x3f4c422au);
const k1 = vec4u(0x3d372713u);
const k3 = vec4u(0x3e095d4fu);

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
  let squared = rmul4(v, v);
  let t = tanh4(rmul4(k0, radd4(v, rmul4(k1, rmul4(squared, v)))));
  let slope = rmul4(k0, radd4(one4, rmul4(k3, squared)));
  let bend = rmul4(rmul4(rmul4(half4, v), rsub4(one4, rmul4(t, t))), slope);
  var g: vec4u;
  if (params.in_place != 0u) {
    g = dx[i];
  } else {
    g = dy[i];
  }
  let value = mul4(g, radd4(rmul4(half4, radd4(one4, t)), bend));
  if (at + 4u <= params.size) {
    dx[i] = value;
  } else {
    for (var k = 0u; k < params.size - at; k++) {
      dx[i][k] = value[k];
    }
  }
}
