// Gradient of the gates' softmax over the chosen experts. Body; pf32.wgsl comes first.
//
// Equation   D = (g_0 * d_0 + g_1 * d_1) + ...; dlogits[t][ids[t][j]] = g_j * (d_j - D), 0 where not chosen.
// Layout     ids, gates, dgates [M][k]; dlogits [M][E].
// Work       One invocation a token.

struct Params {
  M: u32,
  E: u32,
  k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> gates: array<u32>;
@group(0) @binding(4) var<storage, read> dgates: array<u32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let t = (group.y * grid.x + group.x) * 64u + local;
  if (t >= params.M) {
    return;
  }
  let slot = t * params.k;
  for (var e = 0u; e < params.E; e++) {
    dlogits[t * params.E + e] = 0u;
  }
  var total = mul(gates[slot], dgates[slot]);
  for (var s = slot + 1u; s < slot + params.k; s++) {
    total = add(total, mul(gates[s], dgates[s]));
  }
  for (var s = slot; s < slot + params.k; s++) {
    if (ids[s] < params.E) {
      dlogits[t * params.E + ids[s]] = mul(gates[s], sub(dgates[s], total));
    }
  }
}
