// LayerNorm backward, gradients of gain and bias: sums down the columns. Body; pf32.wgsl comes first.
//
// Equation   dgain[c] = sum over rows of dy * ((x - mean) * rstd); dbias[c] = sum over rows of dy.
// Layout     dy, x [rows][cols]; mean, rstd [rows]; dgain, dbias [cols].
// Work       A workgroup takes 16 columns, so that reads are contiguous; invocation (x, y) holds lanes y, y + 16, y + 32, y + 48 of column x.
// Order      That of NUMERICS.md, as in reduce.wgsl: strides 32 and 16 of the tree lie inside an invocation, 8 .. 1 in workgroup memory.
// Requires   At most 2^24 rows.

struct Params {
  rows: u32,
  cols: u32,
}

// Four lanes of the two sums: gain in 0 .. 3, bias in 4 .. 7.
struct Lanes {
  gain: array<u32, 4>,
  bias: array<u32, 4>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<u32>;
@group(0) @binding(4) var<storage, read> mean: array<u32>;
@group(0) @binding(5) var<storage, read> rstd: array<u32>;
@group(0) @binding(6) var<storage, read_write> dgain: array<u32>;
@group(0) @binding(7) var<storage, read_write> dbias: array<u32>;

// [16 lanes][16 columns] of (gain, bias).
var<workgroup> tree: array<vec2u, 256>;

fn lanes_of_block(column: u32, y: u32, start: u32, end: u32) -> Lanes {
  var lanes: Lanes;
  for (var base = start; base < end; base += 64u) {
    for (var q = 0u; q < 4u; q++) {
      let row = base + q * 16u + y;
      if (row < end) {
        let at = row * params.cols + column;
        let g = dy[at];
        let xhat = mul(sub(x[at], mean[row]), rstd[row]);
        lanes.gain[q] = add(lanes.gain[q], mul(g, xhat));
        lanes.bias[q] = add(lanes.bias[q], g);
      }
    }
  }
  return lanes;
}

fn add2(a: vec2u, b: vec2u) -> vec2u {
  return vec2u(add(a.x, b.x), add(a.y, b.y));
}

// The tree over all 64 lanes of each column; the sums are in tree[column] afterwards, until the next barrier.
fn tree_sum(lanes: Lanes, column: u32, y: u32) {
  let q0 = vec2u(lanes.gain[0], lanes.bias[0]);
  let q1 = vec2u(lanes.gain[1], lanes.bias[1]);
  let q2 = vec2u(lanes.gain[2], lanes.bias[2]);
  let q3 = vec2u(lanes.gain[3], lanes.bias[3]);
  tree[y * 16u + column] = add2(add2(q0, q2), add2(q1, q3));
  workgroupBarrier();
  for (var s = 8u; s > 0u; s >>= 1u) {
    if (y < s) {
      tree[y * 16u + column] = add2(tree[y * 16u + column], tree[(y + s) * 16u + column]);
    }
    workgroupBarrier();
  }
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  z = zero[0];
  let wanted = (group.y * grid.x + group.x) * 16u + local.x;
  let column = min(wanted, params.cols - 1u);
  if (params.rows <= 4096u) {
    tree_sum(lanes_of_block(column, local.y, 0u, params.rows), local.x, local.y);
  } else {
    var outer: Lanes;
    let blocks = (params.rows + 4095u) / 4096u;
    for (var b = 0u; b < blocks; b++) {
      tree_sum(
        lanes_of_block(column, local.y, b * 4096u, min(params.rows, (b + 1u) * 4096u)), local.x, local.y,
      );
      if (local.y == (b & 15u)) {
        let q = (b >> 4u) & 3u;
        outer.gain[q] = add(outer.gain[q], tree[local.x].x);
        outer.bias[q] = add(outer.bias[q], tree[local.x].y);
      }
      workgroupBarrier();
    }
    tree_sum(outer, local.x, local.y);
  }
  if (local.y == 0u && wanted < params.cols) {
    dgain[wanted] = tree[local.x].x;
    dbias[wanted] = tree[local.x].y;
  }
}
