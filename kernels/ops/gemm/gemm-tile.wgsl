// What the GEMM kernels share: parameters, the place of an invocation's 8 x 8 tile, and the store. After pf32.wgsl; operands and a body come next.
//
// Equation   C[b][m][n] = clamp(ROUND(sum_k A[b][m][k] * B[b][n][k], Ea[m] + Eb[n] - 2 nb)), then clamp(residual + C) where one is given;
//            NUMERICS.md, GEMM.
// Layout     A [batch][a_lines][a_stride], B [batch][b_lines][b_stride]: vec4 as gemm-operands.wgsl or gemm-packed.wgsl says. C and residual: strides,
//            two batch dimensions.
// Work       A workgroup of WX x WY invocations takes 8 WY rows and 8 WX columns of one batch; an invocation has rows m0 .. m0 + 7 and every
//            WX-th column from n0 on, so that writes are contiguous. Rows past the end read the last one and are not stored.
// Sums       A body adds exact sums as (hi, lo16) pairs: S = hi * 65536 + lo, 0 <= lo < 65536, |S| < 2^47.

override WX: u32 = 4;
override WY: u32 = 2;

struct Params {
  offset: u32,
  s0: u32,
  n1: u32,
  s1: u32,
  row_stride: u32,
  col_stride: u32,
  M: u32,
  N: u32,
  // vec4 steps of the contraction, and what of the last one counts (4: all of it).
  K4: u32,
  last: u32,
  // Lines of a batch of A and of B, and vec4 from one to the next: at least M, N and K4.
  a_lines: u32,
  b_lines: u32,
  a_stride: u32,
  b_stride: u32,
  batch: u32,
  nb: i32,
  // vec4 steps whose sum the body holds exactly.
  span: u32,
  // 0, or only columns n < m + reach are computed; the rest are 0.
  reach: u32,
  // 0: none, 1: added from dst itself, 2: from `residual`.
  residual: u32,
  // The scales of B are folded into A: its exponents are not used.
  folded: u32,
  // The first tile of this dispatch: a long product is cut into several.
  first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> a_exponents: array<i32>;
@group(0) @binding(5) var<storage, read> b_exponents: array<i32>;
@group(0) @binding(6) var<storage, read> residual: array<u32>;
@group(0) @binding(7) var<storage, read_write> dst: array<u32>;

struct Tile {
  batch: u32,
  m0: u32,
  n0: u32,
  // Some of its results are wanted.
  live: bool,
  // Some of them are sums; the rest are above the diagonal.
  sums: bool,
}

// Eight sums each in rows 2 i and 2 i + 1 of a pair of vec4: element (m, n) is [2 m + n / 4][n % 4].
struct Sums {
  hi: array<vec4i, 16>,
  lo: array<vec4i, 16>,
}

fn tile_of(group: vec3u, grid: vec3u, local: vec3u) -> Tile {
  let tiles_n = (params.N + 8u * WX - 1u) / (8u * WX);
  let tiles_m = (params.M + 8u * WY - 1u) / (8u * WY);
  let index = params.first + group.y * grid.x + group.x;
  var tile: Tile;
  tile.batch = index / (tiles_n * tiles_m);
  tile.m0 = ((index / tiles_n) % tiles_m) * 8u * WY + local.y * 8u;
  tile.n0 = (index % tiles_n) * 8u * WX + local.x;
  tile.live = tile.batch < params.batch && tile.m0 < params.M && tile.n0 < params.N;
  tile.sums = tile.live && (params.reach == 0u || tile.n0 < tile.m0 + 7u + params.reach);
  return tile;
}

// Where row i of the tile's part of A, and column i of its part of B, begin.
fn a_row(tile: Tile, i: u32) -> u32 {
  return (tile.batch * params.a_lines + min(tile.m0 + i, params.M - 1u)) * params.a_stride;
}

fn b_row(tile: Tile, i: u32) -> u32 {
  return (tile.batch * params.b_lines + min(tile.n0 + i * WX, params.N - 1u)) * params.b_stride;
}

// Whether a workgroup whose first tile is `first` has sums that are wanted: the same for all its invocations.
fn group_sums(first: Tile) -> bool {
  return params.reach == 0u || first.n0 < first.m0 + 8u * WY - 1u + params.reach;
}

fn store(batch: u32, m: u32, n: u32, hi: i32, lo: u32) {
  let at = params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 +
    m * params.row_stride + n * params.col_stride;
  var value = 0u;
  if (params.reach == 0u || n < m + params.reach) {
    var e = a_exponents[batch * params.a_lines + m] - params.nb;
    if (params.folded == 0u) {
      e += b_exponents[batch * params.b_lines + n] - params.nb;
    }
    value = round_sum(hi, lo, e);
  }
  if (params.residual == 1u) {
    value = limit(add(dst[at], value));
  } else if (params.residual == 2u) {
    value = limit(add(residual[at], value));
  }
  dst[at] = value;
}

fn store_tile(tile: Tile, sums: ptr<function, Sums>) {
  for (var i = 0u; i < 64u; i++) {
    let m = tile.m0 + i / 8u;
    let n = tile.n0 + (i % 8u) * WX;
    if (m < params.M && n < params.N) {
      store(tile.batch, m, n, (*sums).hi[i / 4u][i % 4u], u32((*sums).lo[i / 4u][i % 4u]));
    }
  }
}
