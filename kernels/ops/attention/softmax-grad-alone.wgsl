// Causal softmax backward, in place in the gradient. Body; pf32.wgsl and reduce-alone.wgsl come first.
//
// Equation   Row i, over j <= i + offset + position, at most cols: D = sum of P * dP; dS = (P * (dP - D)) * scale; 0 beyond.
// Layout     probabilities, gradient [batch][rows][cols]; position[0] is 0 where the op has none.
// Work       One invocation a row: the sum, then the products, then zeros beyond.

struct Params {
  // Of all matrices together.
  all_rows: u32,
  rows: u32,
  cols: u32,
  offset: u32,
  scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> probabilities: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4u>;
@group(0) @binding(4) var<storage, read> position: array<u32>;

var<private> at: u32;
var<private> count: u32;

fn probability(i: u32) -> vec4u {
  return select(vec4u(), probabilities[at + i], in_row(i, count));
}

fn term4(which: u32, i: u32) -> vec4u {
  return mul4(probability(i), gradient[at + i]);
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = row_of(group, grid, local);
  if (row >= params.all_rows) {
    return;
  }
  let vectors = params.cols / 4u;
  at = row * vectors;
  count = min(params.cols, row % params.rows + params.offset + position[0] + 1u);
  let used = (count + 3u) / 4u;
  let total = vec4u(sum_row(0u, (count + 63u) / 64u * 16u));
  for (var i = 0u; i < used; i++) {
    let inner = mul4(probability(i), sub4(gradient[at + i], total));
    gradient[at + i] = mul4(inner, vec4u(params.scale));
  }
  for (var i = used; i < vectors; i++) {
    gradient[at + i] = vec4u();
  }
}
