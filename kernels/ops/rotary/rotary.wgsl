// Rotary positions, in place. Body; pf32.wgsl comes first.
//
// Equation   y0 = clamp(x0 * c - x1 * s); y1 = clamp(x1 * c + x0 * s) for the pairs (i, i + HD/2) of each head, c and s at the row's position; with
//            `inverse` s changes its sign. A position past the tables leaves its row as it is.
// Layout     x: rows and heads at strides; cos, sin [positions][HD/2]; positions [rows].
// Work       One invocation a pair.

struct Params {
  offset: u32,
  row_stride: u32,
  heads: u32,
  head_stride: u32,
  rows: u32,
  // HD/2.
  pairs: u32,
  // Rows of the tables.
  table: u32,
  inverse: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> cosines: array<u32>;
@group(0) @binding(3) var<storage, read> sines: array<u32>;
@group(0) @binding(4) var<storage, read> positions: array<u32>;
@group(0) @binding(5) var<storage, read_write> x: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let index = (group.y * grid.x + group.x) * 256u + local;
  let i = index % params.pairs;
  let head = (index / params.pairs) % params.heads;
  let row = index / (params.pairs * params.heads);
  if (row >= params.rows) {
    return;
  }
  let position = positions[row];
  if (position >= params.table) {
    return;
  }
  let at = params.offset + row * params.row_stride + head * params.head_stride + i;
  let c = cosines[position * params.pairs + i];
  let s = sines[position * params.pairs + i];
  let x0 = x[at];
  let x1 = x[at + params.pairs];
  let turned0 = mul(x1, s);
  let turned1 = mul(x0, s);
  if (params.inverse == 0u) {
    x[at] = limit(sub(mul(x0, c), turned0));
    x[at + params.pairs] = limit(add(mul(x1, c), turned1));
  } else {
    x[at] = limit(add(mul(x0, c), turned0));
    x[at + params.pairs] = limit(sub(mul(x1, c), turned1));
  }
}
