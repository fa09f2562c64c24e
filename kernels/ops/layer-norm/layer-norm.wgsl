// LayerNorm forward. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   mean = sum(x) * 1/C; d = x - mean; rstd = rsqrt(sum(d * d) * 1/C + eps); y = (d * rstd) * gain + bias.
// Layout     x, y [rows][cols]; gain, bias [cols]; mean, rstd [rows].
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
@group(0) @binding(4) var<storage, read> bias: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;
@group(0) @binding(6) var<storage, read_write> mean: array<u32>;
@group(0) @binding(7) var<storage, read_write> rstd: array<u32>;

var<private> at: u32;
var<private> mu: u32;

// 0: x; 1: (x - mean)^2.
fn term(which: u32, i: u32) -> u32 {
  let value = x[at + i];
  if (which == 0u) {
    return value;
  }
  let d = sub(value, mu);
  return mul(d, d);
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
  mu = mul(sum_terms(0u, count, params.cols), params.inverse);
  let scale = rsqrt_(add(mul(sum_terms(1u, count, params.cols), params.inverse), params.eps));
  for (var c = lane; c < count; c += LANES) {
    y[at + c] = add(mul(mul(sub(x[at + c], mu), scale), gain[c]), bias[c]);
  }
  if (live && lane == 0u) {
    mean[row] = mu;
    rstd[row] = scale;
  }
}
