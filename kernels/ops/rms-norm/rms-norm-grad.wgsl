// RMSNorm backward, gradient of the input. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   xhat = x * rstd; g = dy * gain; dx = rstd * (g - xhat * (sum(g * xhat) * 1/C)), clamped; with a residual clamp(residual + dx before the clamp).
// Layout     dy, x, residual, dx [rows][cols]; gain [cols]; rstd [rows].
// Work       LANES invocations a row; sums in the order of reduce.wgsl.

struct Params {
  rows: u32,
  cols: u32,
  // 1/C as bits.
  inverse: u32,
  // 0: none, 1: added from dx itself, 2: from `residual`.
  residual: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<u32>;
@group(0) @binding(4) var<storage, read> gain: array<u32>;
@group(0) @binding(5) var<storage, read> rstd: array<u32>;
@group(0) @binding(6) var<storage, read> residual: array<u32>;
@group(0) @binding(7) var<storage, read_write> dx: array<u32>;

var<private> at: u32;
var<private> scale: u32;

fn term(which: u32, i: u32) -> u32 {
  return mul(mul(dy[at + i], gain[i]), mul(x[at + i], scale));
}

@compute @workgroup_size(LANES, SLOTS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let row = begin(group, grid, local.x, local.y, params.rows);
  at = row * params.cols;
  scale = rstd[row];
  let count = select(0u, params.cols, live);
  let mean = mul(sum_terms(0u, count, params.cols), params.inverse);
  for (var c = lane; c < count; c += LANES) {
    let inner = sub(mul(dy[at + c], gain[c]), mul(mul(x[at + c], scale), mean));
    var value = mul(scale, inner);
    if (params.residual == 1u) {
      value = add(dx[at + c], value);
    } else if (params.residual == 2u) {
      value = add(residual[at + c], value);
    }
    dx[at + c] = limit(value);
  }
}
