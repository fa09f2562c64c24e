// RMSNorm forward. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   rstd = rsqrt(sum(x * x) * 1/C + eps); y = (x * rstd) * gain.
// Layout     x, y [rows][cols]; gain [cols]; rstd [rows].
// Work       LANES invocations a row; sums in the order of reduce.wgsl.

struct Params {
  rows: u32,
  cols: u32,
  // 1/C and 1e-5, as bits.
  inverse: u32,
  eps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> gain: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;
@group(0) @binding(5) var<storage, read_write> rstd: array<u32>;

var<private> at: u32;

fn term(which: u32, i: u32) -> u32 {
  let value = x[at + i];
  return mul(value, value);
}

@compute @workgroup_size(LANES, SLOTS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let row = begin(group, grid, local.x, local.y, params.rows);
  at = row * params.cols;
  let count = select(0u, params.cols, live);
  let scale = rsqrt_(add(mul(sum_terms(0u, count, params.cols), params.inverse), params.eps));
  for (var c = lane; c < count; c += LANES) {
    y[at + c] = mul(mul(x[at + c], scale), gain[c]);
  }
  if (live && lane == 0u) {
    rstd[row] = scale;
  }
}
