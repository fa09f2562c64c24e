// LayerNorm backward, gradient of the input. Body; pf32.wgsl and reduce-alone.wgsl come first.
//
// Equation   xhat = (x - mean) * rstd; g = dy * gain; dx = rstd * ((g - sum(g)/C) - xhat * (sum(g * xhat)/C)), clamped; with a residual
//            clamp(residual + dx before the clamp).
// Layout     dy, x, residual, dx [rows][cols]; gain [cols]; mean, rstd [rows].
// Work       One invocation a row; sums in the order of reduce-alone.wgsl.

struct Params {
  rows: u32,
  cols: u32,
  // 1/C as bits.
  inverse: u32,
  // 0: none, 1: added from dx itself, 2: from `residual`.
  residual: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy: array<vec4u>;
@group(0) @binding(3) var<storage, read> x: array<vec4u>;
@group(0) @binding(4) var<storage, read> gain: array<vec4u>;
@group(0) @binding(5) var<storage, read> mean: array<u32>;
@group(0) @binding(6) var<storage, read> rstd: array<u32>;
@group(0) @binding(7) var<storage, read> residual: array<vec4u>;
@group(0) @binding(8) var<storage, read_write> dx: array<vec4u>;

var<private> at: u32;
var<private> mu: vec4u;
var<private> scale: vec4u;

fn xhat(i: u32) -> vec4u {
  return mul4(sub4(x[at + i], mu), scale);
}

// 0: g; 1: g * xhat.
fn term4(which: u32, i: u32) -> vec4u {
  let g = mul4(dy[at + i], gain[i]);
  if (which == 0u) {
    return g;
  }
  return mul4(g, xhat(i));
}

fn finish(i: u32, s1: vec4u, s2: vec4u) {
  var value = mul4(scale, sub4(sub4(term4(0u, i), s1), mul4(xhat(i), s2)));
  if (params.residual == 1u) {
    value = add4(dx[at + i], value);
  } else if (params.residual == 2u) {
    value = add4(residual[at + i], value);
  }
  dx[at + i] = limit4(value);
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
  mu = vec4u(mean[row]);
  scale = vec4u(rstd[row]);
  let s1 = vec4u(mul(sum_row(0u, vectors), params.inverse));
  let s2 = vec4u(mul(sum_row(1u, vectors), params.inverse));
  for (var i = 0u; i < vectors; i += 4u) {
    finish(i, s1, s2);
    finish(i + 1u, s1, s2);
    finish(i + 2u, s1, s2);
    finish(i + 3u, s1, s2);
  }
}
