// LayerNorm forward. Body; pf32.wgsl and reduce-alone.wgsl come first.
//
// Equation   mean = sum(x) * 1/C; d = x - mean; rstd = rsqrt(sum(d * d) * 1/C + eps); y = (d * rstd) * gain + bias.
// Layout     x, y [rows][cols]; gain, bias [cols]; mean, rstd [rows].
// Work       One invocation a row; sums in the order of reduce-alone.wgsl.

struct Params {
  rows: u32,
  cols: u32,
  // 1/C and 1e-5, as bits.
  inverse: u32,
  eps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4u>;
@group(0) @binding(3) var<storage, read> gain: array<vec4u>;
@group(0) @binding(4) var<storage, read> bias: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> mean: array<u32>;
@group(0) @binding(7) var<storage, read_write> rstd: array<u32>;

var<private> at: u32;
var<private> mu: u32;

// 0: x; 1: (x - mean)^2.
fn term4(which: u32, i: u32) -> vec4u {
  let value = x[at + i];
  if (which == 0u) {
    return value;
  }
  let d = sub4(value, vec4u(mu));
  return mul4(d, d);
}

fn finish(i: u32, scale: u32) {
  y[at + i] = add4(mul4(mul4(sub4(x[at + i], vec4u(mu)), vec4u(scale)), gain[i]), bias[i]);
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = row_of(group, grid, local);
  if (row >= params.rows) {
    return;
  }
  let vectors = params.cols / 4u;
  at = row * vectors;
  mu = mul(sum_row(0u, vectors), params.inverse);
  let scale = rsqrt_(add(mul(sum_row(1u, vectors), params.inverse), params.eps));
  for (var i = 0u; i < vectors; i += 4u) {
    finish(i, scale);
    finish(i + 1u, scale);
    finish(i + 2u, scale);
    finish(i + 3u, scale);
  }
  mean[row] = mu;
  rstd[row] = scale;
}
