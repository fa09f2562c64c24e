/**
 * C = ROUND(A B^T) over panels of i16 mantissas (tensor/wasm.ts), by `i32x4.dot_i16x8_s`.
 *
 * A block is 4 rows by 8 columns: eight sums in registers, a pair of contraction steps of a row splatted against four columns, no sum across lanes.
 * i8 and i10: i32 sums hold to K = 2052, so the contraction is cut into chunks of at most 1024, which also keeps a block's columns in L1.
 * i15: a dot d of two products fits an i32, a sum of them does not. Two sums are kept, L = sum d mod 2^32 and H = sum (d >> 16); sum d - 65536 H is a sum of
 * remainders d & 0xffff, below 2^26 in a chunk, so it equals L - (H << 16), and S = 65536 H + that, exactly.
 * Sums of one chunk of i8 or i10 are rounded from i32; all others are added up as f64, exact below 2^53, and rounded by the demotion to f32. Both are RNE.
 */
import { batchOffset, Operand, panelAt, panelsOf, share, View } from '../../tensor/wasm';
import { add, bits, clamp, fl, laneMask, put } from '../math/wasm';

/** Longest chunk of the contraction, and the bytes of right-hand columns that are kept in L1. */
const chunkMax: i32 = 1024;
const columnBytes: i32 = 16384;
/** Rows of which f64 sums are kept at a time when there are several chunks. */
const blockRows: i32 = 64;

@unmanaged
export class Gemm {
  a: Operand;
  b: Operand;
  dst: View;
  /** Address of a tensor with dst's layout, or 0. */
  residual: usize;
  nb: i32;
  causal: i32;
}

@inline
function dotAdd(sum: v128, x: v128, y: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, y));
}

/** i32 sums of 4 rows (panel at a) by 8 columns (panels at b0, b1) over `bytes` of each panel, into rows at `out`, `stride` bytes apart. */
function dotBlock(a: usize, b0: usize, b1: usize, bytes: usize, out: usize, stride: usize): void {
  let s00 = i32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  for (const end = a + bytes; a < end; a += 32, b0 += 32, b1 += 32) {
    let y = v128.load(b0);
    let z = v128.load(b1);
    let x = v128.load_splat<u32>(a);
    s00 = dotAdd(s00, x, y);
    s01 = dotAdd(s01, x, z);
    x = v128.load_splat<u32>(a, 4);
    s10 = dotAdd(s10, x, y);
    s11 = dotAdd(s11, x, z);
    x = v128.load_splat<u32>(a, 8);
    s20 = dotAdd(s20, x, y);
    s21 = dotAdd(s21, x, z);
    x = v128.load_splat<u32>(a, 12);
    s30 = dotAdd(s30, x, y);
    s31 = dotAdd(s31, x, z);
    y = v128.load(b0, 16);
    z = v128.load(b1, 16);
    x = v128.load_splat<u32>(a, 16);
    s00 = dotAdd(s00, x, y);
    s01 = dotAdd(s01, x, z);
    x = v128.load_splat<u32>(a, 20);
    s10 = dotAdd(s10, x, y);
    s11 = dotAdd(s11, x, z);
    x = v128.load_splat<u32>(a, 24);
    s20 = dotAdd(s20, x, y);
    s21 = dotAdd(s21, x, z);
    x = v128.load_splat<u32>(a, 28);
    s30 = dotAdd(s30, x, y);
    s31 = dotAdd(s31, x, z);
  }
  v128.store(out, s00);
  v128.store(out, s01, 16);
  out += stride;
  v128.store(out, s10);
  v128.store(out, s11, 16);
  out += stride;
  v128.store(out, s20);
  v128.store(out, s21, 16);
  out += stride;
  v128.store(out, s30);
  v128.store(out, s31, 16);
}

/** sum (d >> 16). */
@inline
function highAdd(sum: v128, d: v128): v128 {
  return i32x4.add(sum, i32x4.shr_s(d, 16));
}

/** The same for i15: L at `low`, H at `high`, 4 rows by the 4 columns of one panel. */
function dotBlock15(a: usize, b: usize, bytes: usize, low: usize, high: usize, stride: usize): void {
  let l0 = i32x4.splat(0);
  let l1 = l0;
  let l2 = l0;
  let l3 = l0;
  let h0 = l0;
  let h1 = l0;
  let h2 = l0;
  let h3 = l0;
  for (const end = a + bytes; a < end; a += 32, b += 32) {
    let y = v128.load(b);
    let d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a), y);
    l0 = i32x4.add(l0, d);
    h0 = highAdd(h0, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 4), y);
    l1 = i32x4.add(l1, d);
    h1 = highAdd(h1, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 8), y);
    l2 = i32x4.add(l2, d);
    h2 = highAdd(h2, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 12), y);
    l3 = i32x4.add(l3, d);
    h3 = highAdd(h3, d);
    y = v128.load(b, 16);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 16), y);
    l0 = i32x4.add(l0, d);
    h0 = highAdd(h0, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 20), y);
    l1 = i32x4.add(l1, d);
    h1 = highAdd(h1, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 24), y);
    l2 = i32x4.add(l2, d);
    h2 = highAdd(h2, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 28), y);
    l3 = i32x4.add(l3, d);
    h3 = highAdd(h3, d);
  }
  v128.store(low, l0);
  v128.store(low + stride, l1);
  v128.store(low + 2 * stride, l2);
  v128.store(low + 3 * stride, l3);
  v128.store(high, h0);
  v128.store(high + stride, h1);
  v128.store(high + 2 * stride, h2);
  v128.store(high + 3 * stride, h3);
}

/** How a product is cut up; lengths in elements unless they say bytes. */
@unmanaged
class Cut {
  M: i32;
  N: i32;
  chunks: i32;
  /** Bytes of a panel in one chunk; the last may be shorter. */
  chunkBytes: i32;
  /** Columns taken together: a multiple of 8. */
  width: i32;
  groups: i32;
  blocks: i32;
  /** i32 sums of one panel row, their high halves (i15), and f64 sums of a block of rows. */
  low: usize;
  high: usize;
  sums: usize;
}
const cutBytes: usize = 64;

function cut(g: Gemm, c: Cut): void {
  c.M = g.a.lines;
  c.N = g.b.lines;
  const length = (g.a.length + 7) & ~7;
  c.chunks = (length + chunkMax - 1) / chunkMax;
  const chunk = ((length / 8 + c.chunks - 1) / c.chunks) * 8;
  c.chunkBytes = chunk * 8;
  c.width = max(8, (columnBytes / (chunk * 2)) & ~7);
  c.groups = (c.N + c.width - 1) / c.width;
  c.blocks = (c.M + blockRows - 1) / blockRows;
}

/** dst = clamp(ROUND(a b^T)) [+ residual]. Parts share the blocks of 64 rows by `width` columns. Scratch: 64 bytes and 544 for every column of a block. */
export function gemm(g: Gemm, scratch: usize, part: i32, parts: i32): void {
  const c = changetype<Cut>(scratch);
  cut(g, c);
  c.low = scratch + cutBytes;
  c.high = c.low + (<usize>c.width << 4);
  c.sums = c.high + (<usize>c.width << 4);
  const blocks = c.blocks * c.groups;
  const end = share(g.a.batch * blocks, part + 1, parts);
  for (let i = share(g.a.batch * blocks, part, parts); i < end; i++) {
    const batch = i / blocks;
    const rest = i % blocks;
    block(g, c, batch, (rest / c.groups) * blockRows, (rest % c.groups) * c.width);
  }
}

/** The block at (m0, n0): all chunks of it. */
function block(g: Gemm, c: Cut, batch: i32, m0: i32, n0: i32): void {
  const mEnd = min(c.M, m0 + blockRows);
  const nEnd = min(c.N, n0 + c.width);
  const wide = c.chunks > 1 || g.nb == 15;
  for (let k = 0; k < c.chunks; k++) {
    const from = k * c.chunkBytes;
    const bytes = min(c.chunkBytes, ((g.a.length + 7) & ~7) * 8 - from);
    let sums = c.sums;
    for (let m = m0; m < mEnd; m += 4) {
      const width = (g.causal ? min(nEnd, m + 4) : nEnd) - n0;
      const a = panelAt(g.a, batch, m >> 2) + <usize>from;
      const b = panelAt(g.b, batch, n0 >> 2) + <usize>from;
      panelSums(g, c, a, b, bytes, width);
      if (wide) collect(g, c, width, k == 0, sums);
      if (k == c.chunks - 1) {
        for (let r = 0; r < min(4, mEnd - m); r++) {
          const row = wide ? sums + <usize>(r * c.width << 3) : c.low + <usize>(r * c.width << 2);
          finishRow(g, batch, m + r, n0, nEnd - n0, row, wide);
        }
      }
      if (c.chunks > 1) sums += <usize>c.width << 5;
    }
  }
}

/** Integer sums of one chunk: the panel at a by `width` columns from the panel at b on. */
@inline
function panelSums(g: Gemm, c: Cut, a: usize, b: usize, bytes: i32, width: i32): void {
  const stride = <usize>c.width << 2;
  const panel = <usize>g.b.panelBytes;
  if (g.nb == 15) {
    for (let n = 0; n < width; n += 4) {
      dotBlock15(a, b, bytes, c.low + (<usize>n << 2), c.high + (<usize>n << 2), stride);
      b += panel;
    }
    return;
  }
  for (let n = 0; n < width; n += 8) {
    // An odd last panel stands in for its missing neighbour, whose sums nobody reads.
    dotBlock(a, b, n + 4 < width ? b + panel : b, bytes, c.low + (<usize>n << 2), stride);
    b += panel << 1;
  }
}

/** Adds (or sets) the integer sums of four rows into f64 sums. */
function collect(g: Gemm, c: Cut, width: i32, isFirst: bool, sums: usize): void {
  for (let r = 0; r < 4; r++) {
    const row = <usize>(r * c.width);
    let low = c.low + (row << 2);
    let high = c.high + (row << 2);
    let to = sums + (row << 3);
    for (let n = 0; n < width; n += 4, low += 16, high += 16, to += 32) {
      const l = v128.load(low);
      const h = v128.load(high);
      let x = g.nb == 15 ? join(l, h) : f64x2.convert_low_i32x4_s(l);
      const up = v128.shuffle<u64>(l, l, 1, 1);
      let y = g.nb == 15 ? join(up, v128.shuffle<u64>(h, h, 1, 1)) : f64x2.convert_low_i32x4_s(up);
      if (!isFirst) {
        x = f64x2.add(x, v128.load(to));
        y = f64x2.add(y, v128.load(to, 16));
      }
      v128.store(to, x);
      v128.store(to, y, 16);
    }
  }
}

/** The lower two lanes of 65536 H + (L - (H << 16)). */
@inline
function join(l: v128, h: v128): v128 {
  const rest = i32x4.sub(l, i32x4.shl(h, 16));
  const high = f64x2.mul(f64x2.convert_low_i32x4_s(h), f64x2.splat(65536));
  return f64x2.add(high, f64x2.convert_low_i32x4_s(rest));
}

/**
 * ROUND and store of one row. S * 2^E is S * 2^-30 * 2^(E + 30): both exact, with E + 30 kept to normal exponents, beyond which the value is below 2^-100 or
 * above 2^40 for certain.
 */
function finishRow(g: Gemm, batch: i32, m: i32, n0: i32, count: i32, row: usize, wide: bool): void {
  const v = g.dst;
  const a = g.a;
  const b = g.b;
  const ea = load<i32>(a.exponents + (<usize>(batch * a.rows + m) << 2)) - g.nb + 157;
  const bias = i32x4.splat(b.transposed ? ea : ea - g.nb);
  let eb = b.exponents + (<usize>(batch * b.rows + n0) << 2);
  const at = batchOffset(v, batch) + m * v.rowStride + n0 * v.colStride;
  const spaced = v.colStride != 1;
  for (let n = 0; n < count; n += 4, eb += 16) {
    let e = b.transposed ? bias : i32x4.add(bias, v128.load(eb));
    e = i32x4.shl(i32x4.min_s(i32x4.max_s(e, i32x4.splat(1)), i32x4.splat(254)), 23);
    const s = wide ? demote(row + (<usize>n << 3)) : f32x4.convert_i32x4_s(v128.load(row + (<usize>n << 2)));
    let x = clamp(fl(f32x4.mul(f32x4.mul(s, bits(0x30800000)), e)));
    if (g.causal) x = v128.and(x, laneMask(m + 1 - n0 - n));
    const to = <usize>(at + n * v.colStride) << 2;
    if (spaced) {
      putSpaced(v.data + to, g.residual == 0 ? 0 : g.residual + to, <usize>v.colStride << 2, x, count - n);
    } else {
      if (g.residual != 0) x = clamp(add(v128.load(g.residual + to), x));
      put(v.data + to, x, count - n);
    }
  }
}

@inline
function demote(p: usize): v128 {
  const low = f32x4.demote_f64x2_zero(v128.load(p));
  return v128.shuffle<u64>(low, f32x4.demote_f64x2_zero(v128.load(p, 16)), 0, 2);
}

/** Up to four values `stride` bytes apart. */
function putSpaced(p: usize, residual: usize, stride: usize, x: v128, n: i32): void {
  for (let i = 0; i < min(n, 4); i++) {
    let value = x;
    if (residual != 0) value = clamp(add(v128.load_zero<u32>(residual), x));
    v128.store_lane<u32>(p, value, 0);
    x = v128.shuffle<u32>(x, x, 1, 2, 3, 0);
    p += stride;
    if (residual != 0) residual += stride;
  }
}
