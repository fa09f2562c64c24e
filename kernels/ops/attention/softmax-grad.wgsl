// Causal softmax backward, in place in the gradient. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   Row i: D = sum over j <= i of P * dP; dS = (P * (dP - D)) * scale; 0 for j > i.
// Layout     probabilities, gradient [batch][T][T].
// Work       LANES invocations a row; sums in the order of reduce.wgsl.

struct Params {
  rows: u32,
  T: u32,
  scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> probabilities: array<u32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<u32>;

var<private> at: u32;

fn term(which: u32, i: u32) -> u32 {
  return mul(probabilities[at + i], gradient[at + i]);
}

@compute @workgroup_size(LANES, SLOTS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let row = begin(group, grid, local.x, local.y, params.rows);
  at = row * params.T;
  let count = select(0u, row % params.T + 1u, live);
  let width = select(0u, params.T, live);
  let total = sum_terms(0u, count, params.T);
  for (var j = lane; j < width; j += LANES) {
    var value = 0u;
    if (j < count) {
      value = mul(mul(probabilities[at + j], sub(gradient[at + j], total)), params.scale);
    }
    gradient[at + j] = value;
  }
}
