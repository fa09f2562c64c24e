// LayerNorm backward, gradients of gain and bias: sums down the columns. Body; pf32.wgsl comes first.
//
// Equation   dgain[c] = sum over rows of dy * ((x - mean) * rstd); dbias[c] = sum over rows of dy.
// Layout     dy, x [rows][cols]; mean, rstd [rows]; dgain, dbias [cols].
// Work       One invocation for 4 columns: for adapters that run on the CPU. Lane j of the reduction adds rows j, j + 64, ...; lanes are taken in
//            bit-reversed order, so that neighbours are what the tree adds, and the sums of a level wait in one of six places.
// Requires   At most 4096 rows; cols a multiple of 4.

struct Params {
  rows: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dy: array<vec4u>;
@group(0) @binding(3) var<storage, read> x: array<vec4u>;
@group(0) @binding(4) var<storage, read> mean: array<u32>;
@group(0) @binding(5) var<storage, read> rstd: array<u32>;
@group(0) @binding(6) var<storage, read_write> dgain: array<vec4u>;
@group(0) @binding(7) var<storage, read_write> dbias: array<vec4u>;

struct Pair {
  gain: vec4u,
  bias: vec4u,
}

fn both(a: Pair, b: Pair) -> Pair {
  return Pair(add4(a.gain, b.gain), add4(a.bias, b.bias));
}

fn lane_sums(lane: u32, column: u32, vectors: u32) -> Pair {
  var sums: Pair;
  for (var r = lane; r < params.rows; r += 64u) {
    let at = r * vectors + column;
    let g = dy[at];
    let xhat = mul4(sub4(x[at], vec4u(mean[r])), vec4u(rstd[r]));
    sums = both(sums, Pair(mul4(g, xhat), g));
  }
  return sums;
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let column = (group.y * grid.x + group.x) * 16u + local;
  let vectors = params.cols / 4u;
  if (column >= vectors) {
    return;
  }
  var a: Pair;
  var b: Pair;
  var c: Pair;
  var d: Pair;
  var e: Pair;
  var f: Pair;
  // The strides 32, 16, ..., 1 of the tree end where the bits of n say that both halves are there.
  for (var n = 0u; n < 64u; n++) {
    var own = lane_sums(reverseBits(n) >> 26u, column, vectors);
    if ((n & 1u) == 0u) {
      a = own;
      continue;
    }
    own = both(a, own);
    if ((n & 2u) == 0u) {
      b = own;
      continue;
    }
    own = both(b, own);
    if ((n & 4u) == 0u) {
      c = own;
      continue;
    }
    own = both(c, own);
    if ((n & 8u) == 0u) {
      d = own;
      continue;
    }
    own = both(d, own);
    if ((n & 16u) == 0u) {
      e = own;
      continue;
    }
    own = both(e, own);
    if ((n & 32u) == 0u) {
      f = own;
      continue;
    }
    own = both(f, own);
    dgain[column] = own.gain;
    dbias[column] = own.bias;
  }
}
