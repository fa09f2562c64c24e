// Exact products of each expert's rows, or over each expert's part of the contraction. Body; pf32.wgsl comes first.
//
// Equation   CONTRACTION false: dst[r][n] = ROUND(sum_k A[r][k] * B[e][n][k], Ea + Eb - 2 nb), offsets[e] <= r < offsets[e + 1]; rows of no expert are 0.
//            CONTRACTION true: dst[e][m][n] = ROUND(sum of A[m][r] * B[n][r] over offsets[e] <= r < offsets[e + 1]), then clamp(residual + it).
// Layout     A [M][K4], B [E][N][K4] ([N][K4]): vec4 of integers held as f32, padded with zeros. dst [M][N] ([E][M][N]).
// Exactness  As in gemm.wgsl: four products below 2^22 plus 1.5 * 2^23 are exact in f32, their bits add in i32, spans of them as (hi, lo16). WIDE: two
//            int8 digits a mantissa, q = 256 h + l; sums of l l, h l + l h and h h are combined as NUMERICS.md has it.
// Work       One invocation a tile of 4 x 4 results; a tile lies inside one expert, so there is up to one tile of rows an expert more than M / 4.

override CONTRACTION: bool = false;
override WIDE: bool = false;

struct Params {
  M: u32,
  N: u32,
  K4: u32,
  E: u32,
  nb: i32,
  // vec4 steps whose sums fit i32.
  span: u32,
  // 0: none, 1: dst itself, 2: `residual`.
  residual: u32,
  // Tiles before those of this dispatch.
  first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<vec4f>;
@group(0) @binding(3) var<storage, read> a_exponents: array<i32>;
@group(0) @binding(4) var<storage, read> b: array<vec4f>;
@group(0) @binding(5) var<storage, read> b_exponents: array<i32>;
@group(0) @binding(6) var<storage, read> offsets: array<u32>;
@group(0) @binding(7) var<storage, read> residual: array<u32>;
@group(0) @binding(8) var<storage, read_write> dst: array<u32>;

const magic = 12582912.0;
const magic_bits = 0x4b400000;

// Rows m0 .. m_end - 1 of A meet expert `expert`, or none (expert = E).
struct Tile {
  m0: u32,
  m_end: u32,
  expert: u32,
}

fn offset_of(e: u32, most: u32) -> u32 {
  return min(offsets[e], most);
}

// The index-th tile of rows: those of expert 0 first, those of no expert last.
fn row_tile(index: u32) -> Tile {
  var before = 0u;
  for (var e = 0u; e < params.E; e++) {
    let start = offset_of(e, params.M);
    let end = max(start, offset_of(e + 1u, params.M));
    let tiles = (end - start + 3u) / 4u;
    if (index < before + tiles) {
      return Tile(start + (index - before) * 4u, end, e);
    }
    before += tiles;
  }
  return Tile(offset_of(params.E, params.M) + (index - before) * 4u, params.M, params.E);
}

fn high_digits(q: vec4f) -> vec4f {
  return floor((q + 128.0) * 0.00390625);
}

fn rounded(sum: vec4f) -> vec4i {
  return bitcast<vec4i>(magic + sum) - vec4i(magic_bits);
}

// One row's sums: with WIDE the digit products, else only `low`.
struct Row {
  low: vec4i,
  cross: vec4i,
  high: vec4i,
}

fn step_row(row: Row, q: vec4f, columns: mat4x4f, high_columns: mat4x4f) -> Row {
  if (!WIDE) {
    return Row(row.low + rounded(q * columns), row.cross, row.high);
  }
  let h = high_digits(q);
  let l = q - 256.0 * h;
  return Row(
    row.low + rounded(l * columns),
    row.cross + rounded(h * columns + l * high_columns),
    row.high + rounded(h * high_columns),
  );
}

// (hi, lo16).
struct Sum {
  hi: vec4i,
  lo: vec4i,
}

// Adds a span's sums. By value: naga (Firefox, Deno) cannot compile a pointer to an element of an array as an argument.
fn collect(row: Row, sum: Sum) -> Sum {
  let carried = row.low + ((row.cross & vec4i(255)) << vec4u(8u));
  let low = sum.lo + (carried & vec4i(0xffff));
  let hi = sum.hi + row.high + (row.cross >> vec4u(8u)) + (carried >> vec4u(16u)) + (low >> vec4u(16u));
  return Sum(hi, low & vec4i(0xffff));
}

// Elements of step k that lie in start .. end - 1.
fn inside(q: vec4f, k: u32, start: u32, end: u32) -> vec4f {
  let at = vec4u(4u * k) + vec4u(0u, 1u, 2u, 3u);
  return select(vec4f(), q, (at >= vec4u(start)) & (at < vec4u(end)));
}

fn store_row(at: u32, a_row: u32, b_row: u32, n0: u32, hi: vec4i, lo: vec4i) {
  for (var i = 0u; i < min(4u, params.N - n0); i++) {
    let e = a_exponents[a_row] + b_exponents[b_row + i] - 2 * params.nb;
    var value = round_sum(hi[i], u32(lo[i]), e);
    if (CONTRACTION && params.residual == 1u) {
      value = limit(add(dst[at + i], value));
    } else if (CONTRACTION && params.residual == 2u) {
      value = limit(add(residual[at + i], value));
    }
    dst[at + i] = value;
  }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let index = params.first + (group.y * grid.x + group.x) * 64u + local;
  let tiles_n = (params.N + 3u) / 4u;
  let n0 = (index % tiles_n) * 4u;
  var tile: Tile;
  var start = 0u;
  var end = 4u * params.K4;
  var b_base = 0u;
  var dst_base = 0u;
  if (CONTRACTION) {
    let tiles_m = (params.M + 3u) / 4u;
    let m = index / tiles_n;
    tile = Tile((m % tiles_m) * 4u, params.M, m / tiles_m);
    if (tile.expert >= params.E) {
      return;
    }
    start = offset_of(tile.expert, 4u * params.K4);
    end = offset_of(tile.expert + 1u, 4u * params.K4);
    dst_base = tile.expert * params.M * params.N;
  } else {
    tile = row_tile(index / tiles_n);
    if (tile.m0 >= params.M) {
      return;
    }
    b_base = tile.expert * params.N;
    // Rows of no expert: an empty sum.
    end = select(end, 0u, tile.expert == params.E);
    b_base = select(b_base, 0u, tile.expert == params.E);
  }
  let r0 = tile.m0;
  let last = tile.m_end - 1u;
  let a0 = r0 * params.K4;
  let a1 = min(r0 + 1u, last) * params.K4;
  let a2 = min(r0 + 2u, last) * params.K4;
  let a3 = min(r0 + 3u, last) * params.K4;
  let b0 = (b_base + n0) * params.K4;
  let b1 = (b_base + min(n0 + 1u, params.N - 1u)) * params.K4;
  let b2 = (b_base + min(n0 + 2u, params.N - 1u)) * params.K4;
  let b3 = (b_base + min(n0 + 3u, params.N - 1u)) * params.K4;
  var sums = array<Sum, 4>();
  let k_end = (end + 3u) / 4u;
  for (var first = start / 4u; first < k_end; first += params.span) {
    var s0 = Row();
    var s1 = Row();
    var s2 = Row();
    var s3 = Row();
    for (var k = first; k < min(first + params.span, k_end); k++) {
      var columns = mat4x4f(b[b0 + k], b[b1 + k], b[b2 + k], b[b3 + k]);
      var q0 = a[a0 + k];
      var q1 = a[a1 + k];
      var q2 = a[a2 + k];
      var q3 = a[a3 + k];
      // Only the first and last step can hold positions of other experts.
      if (CONTRACTION && (k == start / 4u || k + 1u == k_end)) {
        q0 = inside(q0, k, start, end);
        q1 = inside(q1, k, start, end);
        q2 = inside(q2, k, start, end);
        q3 = inside(q3, k, start, end);
      }
      var high = mat4x4f();
      if (WIDE) {
        high = mat4x4f(
          high_digits(columns[0]),
          high_digits(columns[1]),
          high_digits(columns[2]),
          high_digits(columns[3]),
        );
        columns = columns - 256.0 * high;
      }
      s0 = step_row(s0, q0, columns, high);
      s1 = step_row(s1, q1, columns, high);
      s2 = step_row(s2, q2, columns, high);
      s3 = step_row(s3, q3, columns, high);
    }
    sums[0] = collect(s0, sums[0]);
    sums[1] = collect(s1, sums[1]);
    sums[2] = collect(s2, sums[2]);
    sums[3] = collect(s3, sums[3]);
  }
  for (var i = 0u; i < 4u; i++) {
    let m = tile.m0 + i;
    if (m < tile.m_end) {
      store_row(dst_base + m * params.N + n0, m, b_base + n0, n0, sums[i].hi, sums[i].lo);
    }
  }
}
