// Gradients of what `combine` adds up. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   drows[places[s]][c] = clamp(gates[s] * dy[t][c]); dgates[s] = sum over c of dy[t][c] * rows[places[s]][c]; slot s = t * k + j.
// Layout     dy [M][cols]; rows, drows [slots][cols]; places, gates, dgates [slots].
// Work       LANES invocations a slot.

struct Params {
  slots: u32,
  k: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read> places: array<u32>;
@group(0) @binding(5) var<storage, read> gates: array<u32>;
@group(0) @binding(6) var<storage, read_write> drows: array<u32>;
@group(0) @binding(7) var<storage, read_write> dgates: array<u32>;

var<private> dy_row: u32;
var<private> row_at: u32;

fn term(which: u32, i: u32) -> u32 {
  return mul(dy[dy_row + i], rows[row_at + i]);
}

@compute @workgroup_size(LANES, SLOTS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let s = begin(group, grid, local.x, local.y, params.slots);
  dy_row = (s / params.k) * params.cols;
  row_at = min(places[s], params.slots - 1u) * params.cols;
  let count = select(0u, params.cols, live);
  let total = sum_terms(0u, count, params.cols);
  if (live && lane == 0u) {
    dgates[s] = total;
  }
  for (var i = lane; i < count; i += LANES) {
    drows[row_at + i] = limit(mul(gates[s], dy[dy_row + i]));
  }
}
