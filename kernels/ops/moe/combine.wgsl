// What the experts of a token say, weighted by its gates. Body; pf32.wgsl comes first.
//
// Equation   v = (g_0 * row_0 + g_1 * row_1) + ... over the rows at places[t][j], or their plain sum; y = clamp(v) or clamp(residual + v).
// Layout     rows [M * k][cols]; places, gates [M][k]; residual, y [M][cols].
// Work       One invocation an element. A residual that is y itself is read from there.

struct Params {
  M: u32,
  k: u32,
  cols: u32,
  // Not 0: there are gates.
  gated: u32,
  // 0: none, 1: y itself, 2: `residual`.
  residual: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> places: array<u32>;
@group(0) @binding(4) var<storage, read> gates: array<u32>;
@group(0) @binding(5) var<storage, read> residual: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;

fn term(s: u32, c: u32) -> u32 {
  let place = min(places[s], params.M * params.k - 1u);
  let value = rows[place * params.cols + c];
  if (params.gated != 0u) {
    return mul(gates[s], value);
  }
  return value;
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.M * params.cols) {
    return;
  }
  let slot = (i / params.cols) * params.k;
  let c = i % params.cols;
  var v = term(slot, c);
  for (var j = 1u; j < params.k; j++) {
    v = add(v, term(slot + j, c));
  }
  if (params.residual == 1u) {
    v = add(y[i], v);
  } else if (params.residual == 2u) {
    v = add(residual[i], v);
  }
  y[i] = limit(v);
}
