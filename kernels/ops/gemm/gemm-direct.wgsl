// GEMM for mantissas of 7 and 10 bits on adapters that run on the CPU, exact. Body; a plain pf32 prelude and four-rows*.wgsl come first.
//
// Equation   C[b][m][n] = clamp(ROUND(sum_k A[b][m][k] * B[b][n][k], Ea[m] + Eb[n] - 2 nb)), then clamp(residual + C) where one is given.
// Exactness  Four products of |q| <= 1023 stay below 2^22, so magic + sum is exact in f32 in any order, fused or not, and its bits are an integer that
//            is added in i32 modulo 2^32; the whole sum S stays below 2^31. Where S stays below 2^24 (SHORT), f32 sums are exact. ROUND is
//            one f32 addition of two exact parts of S: RNE on these adapters, as every ADD of their prelude is.
// Work       A workgroup is one subgroup of SwiftShader: 4 invocations, 16 rows and 64 columns; an invocation has 16 rows and every 4th column. There a
//            load costs as much as 20 multiply-adds whatever it reads, so the tile is as large as pays, and four rows are read at once (four_rows).
// Measured   512^3 on SwiftShader, GOP per CPU-second on a busy machine: 8 x 8 an invocation 1.2, this 2.7; two vec4 steps at once the same, and twice the
//            time to compile (1 s; 7 s with all stores unrolled).
// Requires   K * qmax^2 < 2^31, 4 * qmax^2 <= 2^22, zeros in the padding of a and b.

// Dst gets something added: 1 from dst itself, 2 from `residual`.
override RESIDUAL: u32 = 0;
// Only columns n < m + reach are computed; the rest are 0.
override CAUSAL: u32 = 0;
// 1: the scales of B are folded into A, so its exponents are not used; 2: those of A into B.
override FOLDED: u32 = 0;
// 1: the whole sum stays below 2^24, and is an f32.
override SHORT: u32 = 0;

struct Params {
  offset: u32,
  s0: u32,
  n1: u32,
  s1: u32,
  row_stride: u32,
  col_stride: u32,
  M: u32,
  N: u32,
  // vec4 steps of the contraction.
  K4: u32,
  // Lines of a batch of A and of B, and vec4 from one to the next.
  a_lines: u32,
  b_lines: u32,
  a_stride: u32,
  b_stride: u32,
  nb: i32,
  reach: u32,
  tiles_m: u32,
  tiles_n: u32,
  // The first tile of this dispatch: a long product is cut into several.
  first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<vec4f>;
@group(0) @binding(3) var<storage, read> a_exponents: array<i32>;
@group(0) @binding(4) var<storage, read> b: array<vec4f>;
@group(0) @binding(5) var<storage, read> b_exponents: array<i32>;
@group(0) @binding(6) var<storage, read> residual: array<u32>;
@group(0) @binding(7) var<storage, read_write> dst: array<u32>;

// 1.5 * 2^23: for an integer |x| <= 2^22, x + magic is exact and its bits are those of magic plus x.
const magic = 12582912.0;
const magic_bits = 0x4b400000;

// Four steps of 16 columns.
struct Columns {
  c0: mat4x4f,
  c1: mat4x4f,
  c2: mat4x4f,
  c3: mat4x4f,
}

// Sums of one row in 16 columns; also anything else there is one of for each column.
struct Row {
  c0: vec4i,
  c1: vec4i,
  c2: vec4i,
  c3: vec4i,
}

struct Tile {
  batch: u32,
  m0: u32,
  // First column of this invocation.
  n0: u32,
  // Where its first column of dst begins, and the exponent of each of its columns.
  base: u32,
  exponents: Row,
}

fn b_row(batch: u32, n: u32) -> u32 {
  return (batch * params.b_lines + min(n, params.N - 1u)) * params.b_stride;
}

fn columns4(r0: u32, r1: u32, r2: u32, r3: u32, k: u32) -> mat4x4f {
  return mat4x4f(b[r0 + k], b[r1 + k], b[r2 + k], b[r3 + k]);
}

// Sums of four more steps: f32 bits, or integers with magic_bits in them once a call.
fn sum4(s: vec4i, x: vec4f, w: mat4x4f) -> vec4i {
  if (SHORT == 1u) {
    return bitcast<vec4i>(bitcast<vec4f>(s) + x * w);
  }
  return s + bitcast<vec4i>(magic + x * w);
}

fn sums_of(s: vec4i) -> vec4i {
  if (SHORT == 1u) {
    return vec4i(bitcast<vec4f>(s));
  }
  return s - i32(params.K4) * magic_bits;
}

fn step(s: Row, x: vec4f, w: Columns) -> Row {
  return Row(
    sum4(s.c0, x, w.c0),
    sum4(s.c1, x, w.c1),
    sum4(s.c2, x, w.c2),
    sum4(s.c3, x, w.c3),
  );
}

fn column_exponents(batch: u32, n: u32) -> vec4i {
  if (FOLDED == 1u) {
    return vec4i();
  }
  let at = batch * params.b_lines;
  let last = params.N - 1u;
  return vec4i(
    b_exponents[at + min(n, last)],
    b_exponents[at + min(n + 4u, last)],
    b_exponents[at + min(n + 8u, last)],
    b_exponents[at + min(n + 12u, last)],
  ) - params.nb;
}

// ROUND of s * 2^e, clamped. 2^60 is beyond 2^40 for any s, so a larger e is as good as 60 and nothing overflows.
fn round4(s: vec4i, e: vec4i) -> vec4u {
  let f = vec4f(s >> vec4u(12u)) * 4096.0 + vec4f(s & vec4i(4095));
  let u = bitcast<vec4i>(f);
  let scaled = (u & vec4i(0x7fffffff)) + min(e, vec4i(60)) * 0x800000;
  let sized = min(scaled, vec4i(0x53800000)) | (u & vec4i(i32(-0x7fffffff - 1)));
  return bitcast<vec4u>(select(sized, vec4i(), (scaled < vec4i(0x0d800000)) | (s == vec4i())));
}

fn put(m: u32, n: u32, at: u32, product: u32) {
  if (m >= params.M || n >= params.N) {
    return;
  }
  var value = product;
  if (CAUSAL == 1u) {
    value = select(0u, value, n < m + params.reach);
  }
  if (RESIDUAL == 1u) {
    value = limit(add(dst[at], value));
  }
  if (RESIDUAL == 2u) {
    value = limit(add(residual[at], value));
  }
  dst[at] = value;
}

fn store4(m: u32, n: u32, at: u32, s: vec4i, e: vec4i) {
  let c = round4(s, e);
  put(m, n, at, c.x);
  put(m, n + 4u, at + 4u * params.col_stride, c.y);
  put(m, n + 8u, at + 8u * params.col_stride, c.z);
  put(m, n + 12u, at + 12u * params.col_stride, c.w);
}

fn store_row(tile: Tile, i: u32, lane: u32, sums: Row) {
  let m = tile.m0 + row_of(i, lane);
  var e = 0;
  if (FOLDED != 2u) {
    e = a_exponents[tile.batch * params.a_lines + min(m, params.M - 1u)] - params.nb;
  }
  let at = tile.base + m * params.row_stride;
  let next = 16u * params.col_stride;
  store4(m, tile.n0, at, sums_of(sums.c0), tile.exponents.c0 + e);
  store4(m, tile.n0 + 16u, at + next, sums_of(sums.c1), tile.exponents.c1 + e);
  store4(m, tile.n0 + 32u, at + 2u * next, sums_of(sums.c2), tile.exponents.c2 + e);
  store4(m, tile.n0 + 48u, at + 3u * next, sums_of(sums.c3), tile.exponents.c3 + e);
}

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, lane_of: Lane) {
  z = zero[0];
  let lane = lane_of.index % 4u;
  let index = params.first + group.y * grid.x + group.x;
  let batch = index / (params.tiles_n * params.tiles_m);
  let m0 = ((index / params.tiles_n) % params.tiles_m) * 16u;
  let left = (index % params.tiles_n) * 64u;
  let n0 = left + lane;

  let a0 = four_begin(batch, m0 + 0u, lane);
  let a1 = four_begin(batch, m0 + 4u, lane);
  let a2 = four_begin(batch, m0 + 8u, lane);
  let a3 = four_begin(batch, m0 + 12u, lane);
  let b0 = b_row(batch, n0 + 0u);
  let b1 = b_row(batch, n0 + 4u);
  let b2 = b_row(batch, n0 + 8u);
  let b3 = b_row(batch, n0 + 12u);
  let b4 = b_row(batch, n0 + 16u);
  let b5 = b_row(batch, n0 + 20u);
  let b6 = b_row(batch, n0 + 24u);
  let b7 = b_row(batch, n0 + 28u);
  let b8 = b_row(batch, n0 + 32u);
  let b9 = b_row(batch, n0 + 36u);
  let b10 = b_row(batch, n0 + 40u);
  let b11 = b_row(batch, n0 + 44u);
  let b12 = b_row(batch, n0 + 48u);
  let b13 = b_row(batch, n0 + 52u);
  let b14 = b_row(batch, n0 + 56u);
  let b15 = b_row(batch, n0 + 60u);
  var s0: Row;
  var s1: Row;
  var s2: Row;
  var s3: Row;
  var s4: Row;
  var s5: Row;
  var s6: Row;
  var s7: Row;
  var s8: Row;
  var s9: Row;
  var s10: Row;
  var s11: Row;
  var s12: Row;
  var s13: Row;
  var s14: Row;
  var s15: Row;
  // Nothing right of the diagonal is a sum that anyone wants.
  let steps = select(params.K4, 0u, CAUSAL == 1u && left >= m0 + 15u + params.reach);
  for (var k = 0u; k < steps; k++) {
    let w = Columns(
      columns4(b0, b1, b2, b3, k),
      columns4(b4, b5, b6, b7, k),
      columns4(b8, b9, b10, b11, k),
      columns4(b12, b13, b14, b15, k),
    );
    let x0 = four_rows(a0, k);
    s0 = step(s0, x0.r0, w);
    s1 = step(s1, x0.r1, w);
    s2 = step(s2, x0.r2, w);
    s3 = step(s3, x0.r3, w);
    let x1 = four_rows(a1, k);
    s4 = step(s4, x1.r0, w);
    s5 = step(s5, x1.r1, w);
    s6 = step(s6, x1.r2, w);
    s7 = step(s7, x1.r3, w);
    let x2 = four_rows(a2, k);
    s8 = step(s8, x2.r0, w);
    s9 = step(s9, x2.r1, w);
    s10 = step(s10, x2.r2, w);
    s11 = step(s11, x2.r3, w);
    let x3 = four_rows(a3, k);
    s12 = step(s12, x3.r0, w);
    s13 = step(s13, x3.r1, w);
    s14 = step(s14, x3.r2, w);
    s15 = step(s15, x3.r3, w);
  }

  let base = params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 + n0 * params.col_stride;
  let exponents = Row(
    column_exponents(batch, n0),
    column_exponents(batch, n0 + 16u),
    column_exponents(batch, n0 + 32u),
    column_exponents(batch, n0 + 48u),
  );
  let tile = Tile(batch, m0, n0, base, exponents);
  // One row's code: all sixteen take seconds to compile.
  var rows = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
  for (var i = 0u; i < 16u; i++) {
    store_row(tile, i, lane, rows[i]);
  }
}
