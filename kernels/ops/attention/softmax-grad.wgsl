// Causal softmax backward, in place in the gradient. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   Row i, over j <= i + offset + position, at most cols: D = sum of P * dP; dS = (P * (dP - D)) * scale; 0 beyond.
// Layout     probabilities, gradient [batch][rows][cols]; position[0] is 0 where the op has none.
// Work       LANES invocations a row; sums in the order of reduce.wgsl.

struct Params {
  // Of all matrices together.
  all_rows: u32,
  rows: u32,
  cols: u32,
  offset: u32,
  scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> probabilities: array<u32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<u32>;
@group(0) @binding(4) var<storage, read> position: array<u32>;

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
  let row = begin(group, grid, local.x, local.y, params.all_rows);
  at = row * params.cols;
  let count = select(0u, min(params.cols, row % params.rows + params.offset + position[0] + 1u), live);
  let width = select(0u, params.cols, live);
  let total = sum_terms(0u, count, params.cols);
  for (var j = lane; j < width; j += LANES) {
    var value = 0u;
    if (j < count) {
      value = mul(mul(probabilities[at + j], sub(gradient[at + j], total)), params.scale);
    }
    gradient[at + j] = value;
  }
}
