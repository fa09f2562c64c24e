// QUANT on adapters that run on the CPU: a row an invocation, four elements at once, no barrier. Body; pf32.wgsl and
// quantize-view.wgsl come first.
//
// Equation   q[r][c] = round(src[r][c] * 2^(nb - E_r)), E_r the exponent of the row's largest element; NUMERICS.md, QUANT.
// Exactness  x * 2^(nb - E) is exact, and 0 where it could be too small for f32 (it is below 2^-26 then, and rounds to 0 either way). RNE: adding 1.5 * 2^23
//            rounds to an integer, which is the low bits of the sum; these adapters add RNE, as every ADD of their prelude does. SR: with v = |x| * 2^(nb - E)
//            = M / 2^s, q is floor(v) and a carry out of (M mod 2^s) + (random mod 2^s), in integers.
// Work       An invocation reads its row twice: for the largest element, then to round.
// Measured   SwiftShader, ns of CPU an element: RNE 17, SR 31; with 16 rows a workgroup and an atomic maximum 124 to 220.
// Requires   PF32 values: no Inf, no NaN.

// 1: stochastic rounding.
override STOCHASTIC: u32 = 0;
// 1: the exponents in `fold` scale the columns.
override FOLD: u32 = 0;

// 1.5 * 2^23.
const magic = 12582912.0;
const magic_bits = 0x4b400000;

struct Row {
  base: u32,
  // Where the exponents of its columns are in `fold`.
  fold: u32,
  // The exponent field of its largest element, and 2^(nb - E).
  field: u32,
  scale: f32,
  seed: u32,
}

fn load(row: Row, c: u32) -> u32 {
  let u = src[row.base + c * params.col_stride];
  if (FOLD == 1u) {
    return scale(u, fold[row.fold + c] - i32(params.nb));
  }
  return u;
}

fn load4(row: Row, c: u32) -> vec4u {
  return vec4u(load(row, c), load(row, c + 1u), load(row, c + 2u), load(row, c + 3u));
}

fn random4(x0: vec4u) -> vec4u {
  var x = x0;
  x ^= x >> vec4u(16u);
  x *= 0x7feb352du;
  x ^= x >> vec4u(15u);
  x *= 0x846ca68bu;
  return x ^ (x >> vec4u(16u));
}

// Sizes of the integers, rounded stochastically, of sizes a at columns c ...
fn stochastic4(row: Row, a: vec4u, c: u32) -> vec4f {
  let v = bitcast<vec4f>(a) * row.scale;
  let whole = floor(v);
  let shift = 24u - params.nb + row.field - (a >> vec4u(23u));
  let mask = (vec4u(1u) << min(shift, vec4u(31u))) - 1u;
  let index = row.base + (c + vec4u(0u, 1u, 2u, 3u)) * params.col_stride;
  let random = random4(row.seed + index * 0x9e3779b9u) & mask;
  let mantissa = (a & vec4u(0x7fffffu)) | vec4u(0x800000u);
  // Of a mantissa that is shifted by more than 31, the shift beyond 31 comes first.
  let rest = select(mantissa & mask, vec4u(vec4i(floor(v * 0x1p31))), shift > vec4u(31u));
  return whole + select(vec4f(), vec4f(1.0), rest + random > mask);
}

fn round4(row: Row, u: vec4u, c: u32) -> vec4f {
  let a = u & vec4u(abs_mask);
  var size: vec4f;
  if (STOCHASTIC == 1u) {
    size = stochastic4(row, a, c);
  } else {
    size = vec4f(bitcast<vec4i>(bitcast<vec4f>(a) * row.scale + magic) - magic_bits);
  }
  let q = select(min(size, vec4f(f32(params.qmax))), vec4f(), a < vec4u(tiny));
  return bitcast<vec4f>(bitcast<vec4u>(q) | (u & vec4u(sign_bit)));
}

@compute @workgroup_size(16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = (group.y * grid.x + group.x) * 16u + local;
  if (index >= params.total) {
    return;
  }
  let batch = index / params.rows;
  let r = index % params.rows;
  let to = select(params.dst_row, position[0], params.moved != 0u) + r;
  if (to < r || to >= params.dst_rows) {
    return;
  }
  var row: Row;
  row.base = params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 + r * params.row_stride;
  row.fold = batch * params.folded;

  let whole = params.cols & 0xfffffffcu;
  var most = vec4u();
  for (var c = 0u; c < whole; c += 4u) {
    most = max(most, load4(row, c) & vec4u(abs_mask));
  }
  for (var c = whole; c < params.cols; c++) {
    most.x = max(most.x, load(row, c) & abs_mask);
  }
  let amax = max(max(most.x, most.y), max(most.z, most.w));
  let zeros = amax < tiny;
  row.field = amax >> 23u;
  // 2^(nb - E), E = field - 126; 0 makes a row of zeros.
  row.scale = bitcast<f32>(select((params.nb + 253u - row.field) << 23u, 0u, zeros));
  exponents[batch * params.dst_rows + to] = select(i32(row.field) - 126, -99, zeros);
  if (STOCHASTIC == 1u) {
    row.seed = lowbias32(scalars[0] ^ (params.site * 0x85ebca6bu));
  }

  let out = batch * params.out_batch + to * params.out_row;
  for (var c = 0u; c < whole; c += 4u) {
    let q = round4(row, load4(row, c), c);
    let at = out + c * params.out_col;
    mantissas[at] = q.x;
    mantissas[at + params.out_col] = q.y;
    mantissas[at + 2u * params.out_col] = q.z;
    mantissas[at + 3u * params.out_col] = q.w;
  }
  for (var c = whole; c < params.cols; c++) {
    mantissas[out + c * params.out_col] = round4(row, vec4u(load(row, c), 0u, 0u, 0u), c).x;
  }
}
