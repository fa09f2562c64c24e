// Causal softmax of attention scores, in place. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   Row i attends to j <= i + offset + position, at most cols: s = scores * scale; e = exp(s - max s); P = e * recip(sum e); 0 beyond.
// Layout     scores [batch][rows][cols]; position[0] is 0 where the op has none.
// Work       LANES invocations a row. An invocation reads and writes only its own lane's elements, so storage needs no barrier.

struct Params {
  // Of all matrices together.
  all_rows: u32,
  rows: u32,
  cols: u32,
  offset: u32,
  scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> scores: array<u32>;
@group(0) @binding(3) var<storage, read> position: array<u32>;

var<private> at: u32;
var<private> largest: u32;

// 0: s; 1: e, which replaces the score.
fn term(which: u32, i: u32) -> u32 {
  let s = mul(scores[at + i], params.scale);
  if (which == 0u) {
    return s;
  }
  let e = exp_(sub(s, largest));
  scores[at + i] = e;
  return e;
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
  largest = max_terms(0u, count);
  let inverse = recip_(sum_terms(1u, count, params.cols));
  for (var j = lane; j < width; j += LANES) {
    scores[at + j] = select(0u, mul(scores[at + j], inverse), j < count);
  }
}
