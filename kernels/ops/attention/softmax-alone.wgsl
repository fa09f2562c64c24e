// Causal softmax of attention scores, in place. Body; pf32.wgsl and reduce-alone.wgsl come first.
//
// Equation   Row i attends to j <= i + offset + position, at most cols: s = scores * scale; e = exp(s - max s); P = e * recip(sum e); 0 beyond.
// Layout     scores [batch][rows][cols]; position[0] is 0 where the op has none.
// Raw        A score that is below 2^-100 after scaling moves s - max by less than 2^-99: the difference is the same, or so small that its exp is 1.
//            The sum is at least 1, so its reciprocal is not flushed.
// Work       One invocation a row: the largest; e, in place, and zeros beyond; their sum; their products.

struct Params {
  // Of all matrices together.
  all_rows: u32,
  rows: u32,
  cols: u32,
  offset: u32,
  scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> scores: array<vec4u>;
@group(0) @binding(3) var<storage, read> position: array<u32>;

var<private> at: u32;

fn term4(which: u32, i: u32) -> vec4u {
  return scores[at + i];
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
  let count = min(params.cols, row % params.rows + params.offset + position[0] + 1u);
  let used = (count + 3u) / 4u;
  let scale = vec4u(params.scale);
  var order_max = vec4i(i32(sign_bit));
  for (var i = 0u; i < used; i++) {
    let s = order4(rmul4(scores[at + i], scale));
    order_max = max(order_max, select(vec4i(i32(sign_bit)), s, in_row(i, count)));
  }
  let largest = vec4u(bitcast<u32>(order(bitcast<u32>(largest_of(order_max)))));
  for (var i = 0u; i < used; i++) {
    let e = exp4(rsub4(rmul4(scores[at + i], scale), largest));
    scores[at + i] = select(vec4u(), e, in_row(i, count));
  }
  for (var i = used; i < vectors; i++) {
    scores[at + i] = vec4u();
  }
  let total = sum_row(0u, (count + 63u) / 64u * 16u);
  let inverse = recip_positive4(vec4u(total));
  for (var i = 0u; i < used; i++) {
    scores[at + i] = mul4(scores[at + i], inverse);
  }
}
