/**
 * C = ROUND(A B^T) over panels of i16 mantissas (tensor/wasm.ts), by `i32x4.dot_i16x8_s`.
 *
 * A block is 4 rows by 8 columns: eight sums in registers, a pair of contraction steps of a row splatted against four columns, no sum across lanes.
 * i8 and i10: i32 sums hold to K = 2052, so the contraction is cut into chunks of at most 1024, which also keeps a block's columns in L1.
 * i15: a dot d of two products fits an i32, a sum of them does not. Two sums are kept, L = sum d mod 2^32 and H = sum (d >> 16); sum d - 65536 H is a sum of
 * remainders d & 0xffff, below 2^26 in a chunk, so it equals L - (H << 16), and S = 65536 H + that, exactly.
 * A contraction that ends inside both operands, and not at a multiple of 8, ends with a chunk of its own over copies of the rows with zeros behind them.
 * Sums of one chunk of i8 or i10 are rounded from i32; all others are added up as f64, exact below 2^53, and rounded by the demotion to f32. Both are RNE.
 */
import { batchOffset, Operand, panelAt, share, View } from '../../tensor/wasm.ts';
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { gelu as geluOf, geluGrad as geluGradOf } from '../gelu/wasm.ts';
import { add, clamp, fl, gather, put } from '../math/wasm.ts';
import { dotBlock, dotBlock15, dotBlockNarrow, dotRow, dotRowNarrow } from './blocks/wasm.ts';
import { siluGradRow, siluRow } from '../swiglu/wasm.ts';

/** Longest chunk of the contraction, and of one of i8 by few rows, where nothing is read twice; the bytes of right-hand columns that are kept in L1. */
const chunkMax: i32 = 1024;
const fewChunkMax: i32 = 131072;
const columnBytes: i32 = 16384;
/** What is summed before it is rounded: 16 KiB of i32. */
const blockRows: i32 = 32;
const blockColumns: i32 = 128;

@unmanaged
export class Gemm {
  a: Operand;
  b: Operand;
  dst: View;
  /** Address of a tensor with dst's layout, or 0; as of the other tensors below. */
  residual: usize;
  nb: i32;
  /** 0, or column n of row m is computed when n < m + reach. */
  reach: i32;
  /** How much of the contraction is used. */
  length: i32;
  bias: usize;
  /** What is done to the biased sums. */
  activation: i32;
  preactivation: usize;
  /** What the activation was applied to whose gradient is taken. */
  x: usize;
}

/** Values of `activation`. */
const gelu: i32 = 1;
const silu: i32 = 2;
const geluBack: i32 = 3;
const siluBack: i32 = 4;

/** How a product is cut up; lengths in elements unless they say bytes. */
@unmanaged
class Cut {
  M: i32;
  N: i32;
  /** Chunks, and bytes of a panel in one; the last may be shorter, or be the rest of fewer than 8 steps that is `masked`. */
  chunks: i32;
  chunkBytes: i32;
  /** Bytes of a panel in all chunks but a masked one. */
  bytes: i32;
  masked: i32;
  /** Columns that are kept in L1 while the rows of a block pass: a multiple of 8. */
  step: i32;
  /** Blocks across and down. */
  across: i32;
  down: i32;
  /** Sums of a block, rows of `blockColumns`: i32, their high halves (i15), f64. */
  low: usize;
  high: usize;
  sums: usize;
  columns: Columns;
  /** Copies of the last steps of a block's rows, 64 bytes a panel; a row before its epilogue, and what that needs. */
  rest: usize;
  row: usize;
}
const cutBytes: usize = 96;
/** Bytes from one row of i32 sums to the next. */
const rowBytes: usize = <usize>blockColumns << 2;

function cut(g: Gemm, c: Cut, scratch: usize): void {
  c.M = g.dst.rows;
  c.N = g.dst.cols;
  c.masked = (g.length & 7) != 0 && g.length < g.a.length && g.length < g.b.length ? 1 : 0;
  const length = c.masked ? g.length & ~7 : (g.length + 7) & ~7;
  c.bytes = length * 8;
  const few = c.M <= 4;
  const longest = few && g.nb == 7 ? fewChunkMax : chunkMax;
  const whole = (length + longest - 1) / longest;
  c.chunks = whole + c.masked;
  const chunk = whole == 0 ? 8 : ((length / 8 + whole - 1) / whole) * 8;
  c.chunkBytes = chunk * 8;
  c.step = few ? blockColumns : min(blockColumns, max(8, (columnBytes / (chunk * 2)) & ~7));
  c.across = (c.N + blockColumns - 1) / blockColumns;
  c.down = (c.M + blockRows - 1) / blockRows;
  c.columns = changetype<Columns>(scratch + cutBytes);
  c.columns.scales = scratch + cutBytes + columnsBytes;
  c.low = c.columns.scales + rowBytes;
  c.high = c.low + <usize>blockRows * rowBytes;
  c.sums = c.high + <usize>blockRows * rowBytes;
  c.rest = c.sums + <usize>blockRows * rowBytes * 2;
  c.row = c.rest + <usize>blockRows * 16;
}

/**
 * dst = clamp(ROUND(a b^T)), then the epilogue. Parts share the blocks. Scratch: 112 bytes, a row, 16 bytes for every element of a block and every row of
 * it, two rows and 512 bytes.
 */
export function gemm(g: Gemm, scratch: usize, part: i32, parts: i32): void {
  const c = changetype<Cut>(scratch);
  cut(g, c, scratch);
  const blocks = c.down * c.across;
  const end = share(g.a.batch * blocks, part + 1, parts);
  for (let i = share(g.a.batch * blocks, part, parts); i < end; i++) {
    const rest = i % blocks;
    block(g, c, i / blocks, (rest / c.across) * blockRows, (rest % c.across) * blockColumns);
  }
}

/** The block at (m0, n0), over all chunks of the contraction. */
function block(g: Gemm, c: Cut, batch: i32, m0: i32, n0: i32): void {
  const mEnd = min(c.M, m0 + blockRows);
  const nEnd = min(c.N, n0 + blockColumns);
  const wide = c.chunks > 1 || g.nb == 15;
  // Narrow panels are half as long.
  const narrow = <usize>g.b.narrow;
  const stepBytes = <usize>(c.step >> 2) * <usize>g.b.panelBytes;
  for (let k = 0; k < c.chunks; k++) {
    const isRest = c.masked && k == c.chunks - 1;
    const from = isRest ? c.bytes : k * c.chunkBytes;
    const bytes: usize = isRest ? 64 : min(c.chunkBytes, c.bytes - from);
    if (isRest) copyRest(g, batch, m0, mEnd, <usize>from, c.rest);
    let b = panelAt(g.b, batch, n0 >> 2) + (<usize>from >> narrow);
    for (let n = n0; n < nEnd; n += c.step, b += stepBytes) {
      let a = isRest ? c.rest : panelAt(g.a, batch, m0 >> 2) + <usize>from;
      const panelBytes: usize = isRest ? 64 : g.a.panelBytes;
      let at = <usize>(n - n0) << 2;
      for (let m = m0; m < mEnd; m += 4, at += rowBytes << 2, a += panelBytes) {
        const columns = min(g.reach > 0 ? m + 3 + g.reach : nEnd, min(nEnd, n + c.step)) - n;
        // Zeros at both ends add nothing: half of a causal matrix.
        const skip = leadingZeros(a, bytes);
        const left = withoutTail(a + skip, bytes - skip);
        const right = b + (skip >> narrow);
        if (g.nb == 15) strip15(a + skip, right, g.b.panelBytes, left, columns, c.low + at, c.high + at);
        else if (c.M == 1) stripRow(narrow != 0, a + skip, right, g.b.panelBytes, left, columns, c.low + at);
        else if (narrow) strip(true, a + skip, right, g.b.panelBytes, left, columns, c.low + at);
        else strip(false, a + skip, right, g.b.panelBytes, left, columns, c.low + at);
      }
    }
    if (!wide) continue;
    const rows = (mEnd - m0 + 3) & ~3;
    if (g.nb == 15) collect(true, c, rows, nEnd - n0, k == 0);
    else collect(false, c, rows, nEnd - n0, k == 0);
  }
  finish(g, c, batch, m0, mEnd - m0, n0, nEnd - n0, wide);
}

/** The last length % 8 steps of a block's rows, with zeros behind them. */
function copyRest(g: Gemm, batch: i32, m0: i32, mEnd: i32, from: usize, to: usize): void {
  const steps = g.length & 7;
  for (let m = m0; m < mEnd; m += 4, to += 64) {
    memory.fill(to, 0, 64);
    const panel = panelAt(g.a, batch, m >> 2) + from;
    // 16 bytes hold two steps of four rows.
    memory.copy(to, panel, <usize>(steps >> 1) << 4);
    if ((steps & 1) == 0) continue;
    const last = <usize>(steps >> 1) << 4;
    v128.store(to + last, v128.and(v128.load(panel + last), i32x4.splat(0xffff)));
  }
}

/** Bytes of zeros that the panel at a begins with, in groups of eight contraction steps. */
@inline
function leadingZeros(a: usize, bytes: usize): usize {
  let at: usize = 0;
  while (at < bytes && !v128.any_true(groupOf(a + at))) at += 64;
  return at;
}

/** Bytes of the panel at a without the zeros that it ends with. */
@inline
function withoutTail(a: usize, bytes: usize): usize {
  while (bytes > 0 && !v128.any_true(groupOf(a + bytes - 64))) bytes -= 64;
  return bytes;
}

@inline
function groupOf(p: usize): v128 {
  return v128.or(v128.or(v128.load(p), v128.load(p, 16)), v128.or(v128.load(p, 32), v128.load(p, 48)));
}

/** Integer sums of the panel at a by `columns` columns from the panel at b on. */
@inline
function strip(narrow: bool, a: usize, b: usize, panelBytes: usize, bytes: usize, columns: i32, low: usize): void {
  for (; columns > 0; columns -= 8, low += 32, b += panelBytes << 1) {
    // An odd last panel stands in for its missing neighbour, whose sums nobody reads.
    const next = columns > 4 ? b + panelBytes : b;
    if (narrow) dotBlockNarrow(a, b, next, bytes, low, rowBytes);
    else dotBlock(a, b, next, bytes, low, rowBytes);
  }
}

/** The same of one row. */
function stripRow(narrow: bool, a: usize, b: usize, panelBytes: usize, bytes: usize, columns: i32, low: usize): void {
  for (; columns > 0; columns -= 16, low += 64, b += panelBytes << 2) {
    if (narrow) dotRowNarrow(a, b, panelBytes, columns, bytes, low);
    else dotRow(a, b, panelBytes, columns, bytes, low);
  }
}

@inline
function strip15(a: usize, b: usize, panelBytes: usize, bytes: usize, columns: i32, low: usize, high: usize): void {
  for (; columns > 0; columns -= 4, low += 16, high += 16, b += panelBytes) {
    dotBlock15(a, b, bytes, low, high, rowBytes);
  }
}

/** Adds (or sets) integer sums into the f64 sums. */
@inline
function collect(halves: bool, c: Cut, rows: i32, columns: i32, isFirst: bool): void {
  for (let r = 0; r < rows; r++) {
    const row = <usize>r * rowBytes;
    let low = c.low + row;
    let high = c.high + row;
    let to = c.sums + (row << 1);
    for (let n = 0; n < columns; n += 4, low += 16, high += 16, to += 32) {
      const l = v128.load(low);
      const h = halves ? v128.load(high) : l;
      const up = v128.shuffle<u64>(l, l, 1, 1);
      let x = halves ? join(l, h) : f64x2.convert_low_i32x4_s(l);
      let y = halves ? join(up, v128.shuffle<u64>(h, h, 1, 1)) : f64x2.convert_low_i32x4_s(up);
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
  const high = f64x2.mul(f64x2.convert_low_i32x4_s(h), c(k.two16AsF64));
  return f64x2.add(high, f64x2.convert_low_i32x4_s(rest));
}

/** What the columns of a block share in `finish`. */
@unmanaged
class Columns {
  /** 2^(exponent - nb) of each column as f32, and the least and greatest of those exponents. */
  scales: usize;
  least: i32;
  greatest: i32;
}
const columnsBytes: usize = 16;

function columnScales(g: Gemm, batch: i32, n0: i32, columns: i32, to: Columns): void {
  const b = g.b;
  let eb = b.exponents + (<usize>(batch * b.rows + n0) << 2);
  let least = 1 << 20;
  let greatest = -(1 << 20);
  for (let n = 0; n < columns; n++, eb += 4) {
    const e = b.transposed ? 0 : load<i32>(eb) - g.nb;
    least = min(least, e);
    greatest = max(greatest, e);
    store<i32>(to.scales + (<usize>n << 2), (e + 127) << 23);
  }
  to.least = least;
  to.greatest = greatest;
}

/** Bits that |S| fits in. */
@inline
function sumBits(g: Gemm): i32 {
  const width = g.nb == 7 ? 14 : g.nb == 10 ? 20 : 30;
  return width + 32 - clz(g.length);
}

/** Rounds and stores a block. */
function finish(g: Gemm, c: Cut, batch: i32, m0: i32, rows: i32, n0: i32, columns: i32, wide: bool): void {
  const v = g.dst;
  const e = c.columns;
  columnScales(g, batch, n0, columns, e);
  const most = 40 - sumBits(g);
  let ea = g.a.exponents + (<usize>(batch * g.a.rows + m0) << 2);
  let at = batchOffset(v, batch) + m0 * v.rowStride + n0 * v.colStride;
  let sums = wide ? c.sums : c.low;
  const plain = g.bias == 0 && g.activation == 0;
  for (let r = 0; r < rows; r++, ea += 4, at += v.rowStride) {
    const exponent = load<i32>(ea) - g.nb;
    const bytes = <usize>at << 2;
    const to = plain ? v.data + bytes : c.row;
    const stride: usize = plain ? <usize>v.colStride << 2 : 4;
    const residual: usize = g.residual == 0 || !plain ? 0 : g.residual + bytes;
    const count = g.reach > 0 ? max(0, min(columns, m0 + r + g.reach - n0)) : columns;
    const inside = exponent + e.least >= -100 && exponent + e.greatest <= most;
    if (stride != 4 || exponent > 70) {
      finishSpaced(sums, wide, e.scales, exponent, to, residual, stride, count);
    } else {
      const scale = i32x4.splat((exponent + 127) << 23);
      if (wide) finishRow(true, inside, sums, e.scales, scale, to, residual, count);
      else finishRow(false, inside, sums, e.scales, scale, to, residual, count);
    }
    if (count < columns) fillRow(to, residual, stride, count, columns);
    if (!plain) epilogue(g, c.row, bytes, n0, columns);
    sums += wide ? rowBytes << 1 : rowBytes;
  }
}

/** Bias, activation or its gradient, and residual of the `columns` values at `row`; `bytes`: where they belong, from the beginning of the tensors. */
function epilogue(g: Gemm, row: usize, bytes: usize, n0: i32, columns: i32): void {
  const stride = <usize>g.dst.colStride << 2;
  const spare = row + rowBytes;
  if (g.bias != 0) {
    const bias = g.bias + (<usize>n0 << 2);
    for (let i: usize = 0; i < <usize>columns << 2; i += 16) {
      v128.store(row + i, clamp(add(v128.load(row + i), v128.load(bias + i))));
    }
  }
  if (g.preactivation != 0) spread(row, g.preactivation + bytes, stride, columns);
  if (g.activation == gelu) geluOf(row, row, columns, spare, 0, 1);
  else if (g.activation == silu) siluRow(row, row, columns);
  else if (g.activation != 0) {
    const x = stride == 4 ? g.x + bytes : spare;
    if (stride != 4) {
      for (let n = 0; n < columns; n++) store<u32>(spare + (<usize>n << 2), load<u32>(g.x + bytes + <usize>n * stride));
    }
    if (g.activation == geluBack) geluGradOf(x, row, row, columns, spare + rowBytes, 0, 1);
    else siluGradRow(x, row, row, columns);
  }
  if (g.residual != 0) {
    let from = g.residual + bytes;
    for (let n = 0; n < columns; n += 4, from += stride << 2) {
      const at = row + (<usize>n << 2);
      const x = stride == 4 ? v128.load(from) : gather(from, stride, columns - n);
      v128.store(at, clamp(add(x, v128.load(at))));
    }
  }
  spread(row, g.dst.data + bytes, stride, columns);
}

/** Copies a row to where its columns are `stride` bytes apart. */
function spread(row: usize, to: usize, stride: usize, columns: i32): void {
  if (stride == 4) {
    memory.copy(to, row, <usize>columns << 2);
    return;
  }
  for (let n = 0; n < columns; n++, to += stride) store<u32>(to, load<u32>(row + (<usize>n << 2)));
}

/** Four sums as f32, RNE. */
@inline
function rounded(wide: bool, sums: usize, n: i32): v128 {
  if (!wide) return f32x4.convert_i32x4_s(v128.load(sums + (<usize>n << 2)));
  const p = sums + (<usize>n << 3);
  const low = f32x4.demote_f64x2_zero(v128.load(p));
  return v128.shuffle<u64>(low, f32x4.demote_f64x2_zero(v128.load(p, 16)), 0, 2);
}

/**
 * ROUND: the sum times both scales. The first product is exact: at least 2^-114, below 2^118 with an exponent up to 70. The second is exact, or below
 * 2^-126 or infinite, and then flushed or clamped as it should be. `inside`: neither can happen, for any sum of this length but 0.
 */
@inline
function finishRow(
  wide: bool,
  inside: bool,
  sums: usize,
  scales: usize,
  scale: v128,
  to: usize,
  residual: usize,
  count: i32,
): void {
  let n = 0;
  if (inside && residual == 0) {
    for (; n + 4 <= count; n += 4) {
      const at = <usize>n << 2;
      v128.store(to + at, f32x4.mul(f32x4.mul(rounded(wide, sums, n), scale), v128.load(scales + at)));
    }
  }
  for (; n < count; n += 4) {
    const at = <usize>n << 2;
    let x = clamp(fl(f32x4.mul(f32x4.mul(rounded(wide, sums, n), scale), v128.load(scales + at))));
    if (residual != 0) x = clamp(add(v128.load(residual + at), x));
    put(to + at, x, count - n);
  }
}

/** Columns right of the diagonal: 0, or what is added to it. */
function fillRow(to: usize, residual: usize, stride: usize, from: i32, end: i32): void {
  for (let n = from; n < end; n++) {
    const at = <usize>n * stride;
    store<u32>(to + at, residual == 0 ? 0 : load<u32>(residual + at));
  }
}

/**
 * One row whose columns are `stride` bytes apart, or whose exponent is beyond `finishRow`. S * 2^-30 * 2^(E + 30), E + 30 kept to normal exponents, beyond
 * which the value is below 2^-100 or above 2^40 for certain.
 */
function finishSpaced(
  sums: usize,
  wide: bool,
  scales: usize,
  exponent: i32,
  to: usize,
  residual: usize,
  stride: usize,
  count: i32,
): void {
  const bias = i32x4.splat(exponent + 30);
  let x = i32x4.splat(0);
  for (let n = 0; n < count; n++, to += stride) {
    if ((n & 3) == 0) {
      const field = i32x4.add(bias, i32x4.shr_u(v128.load(scales + (<usize>n << 2)), 23));
      const scale = i32x4.shl(i32x4.min_s(i32x4.max_s(field, c(k.int1)), c(k.int254)), 23);
      const s = wide ? rounded(true, sums, n) : rounded(false, sums, n);
      x = clamp(fl(f32x4.mul(f32x4.mul(s, c(k.twoMinus30)), scale)));
    }
    let value = x;
    if (residual != 0) {
      value = clamp(add(v128.load_zero<u32>(residual), value));
      residual += stride;
    }
    v128.store_lane<u32>(to, value, 0);
    x = v128.shuffle<u32>(x, x, 1, 2, 3, 0);
  }
}
