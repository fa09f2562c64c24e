// RMSNorm backward, gradient of the gain: sums down the columns. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   dgain[c] = sum over rows of dy * (x * rstd).
// Layout     dy, x [rows][cols]; rstd [rows]; dgain [cols].
// Work       What reduce.wgsl calls a row is a column here. Neighbouring invocations take neighbouring columns, so that reads are contiguous.

struct Params {
  rows: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<u32>;
@group(0) @binding(4) var<storage, read> rstd: array<u32>;
@group(0) @binding(5) var<storage, read_write> dgain: array<u32>;

var<private> column: u32;

fn term(which: u32, i: u32) -> u32 {
  let at = i * params.cols + column;
  return mul(dy[at], mul(x[at], rstd[i]));
}

@compute @workgroup_size(SLOTS, LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  column = begin(group, grid, local.y, local.x, params.cols);
  let total = sum_terms(0u, select(0u, params.rows, live), params.rows);
  if (live && lane == 0u) {
    dgain[column] = total;
  }
}
