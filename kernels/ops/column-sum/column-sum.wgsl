// Sums down the columns of a matrix. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   dst[c] = clamp(sum over rows of src[r][c]), with `accumulate` clamp(dst[c] + sum).
// Layout     src [rows][cols]; dst [cols].
// Work       What reduce.wgsl calls a row is a column here. Neighbouring invocations take neighbouring columns, so that reads are contiguous.

struct Params {
  rows: u32,
  cols: u32,
  accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

var<private> column: u32;

fn term(which: u32, i: u32) -> u32 {
  return src[i * params.cols + column];
}

@compute @workgroup_size(SLOTS, LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  column = begin(group, grid, local.y, local.x, params.cols);
  var total = sum_terms(0u, select(0u, params.rows, live), params.rows);
  if (live && lane == 0u) {
    if (params.accumulate != 0u) {
      total = add(dst[column], total);
    }
    dst[column] = limit(total);
  }
}
