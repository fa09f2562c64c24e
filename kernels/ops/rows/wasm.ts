/**
 * int8 rows in AssemblyScript, row by row. Codes are stored as bytes, so that parts never meet in a word.
 *
 * Encoding: y = x * 2^(7 - E) is exact or too small to count, and y + 1.5 * 2^23 rounds it to an integer, ties to even, that is the low bits of the sum.
 */
import { share } from '../../tensor/wasm.ts';
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { add, clamp, fl, laneMask, mul, put, sqrt, sub } from '../math/wasm.ts';

/** What a row's values are made of: src, src - minus, sqrt(src). */
type Kind = i32;
const difference: Kind = 1;
const root: Kind = 2;

@inline
function valueOf(kind: Kind, src: usize, minus: usize): v128 {
  const x = v128.load(src);
  if (kind == difference) return clamp(sub(x, v128.load(minus)));
  return kind == root ? clamp(sqrt(x)) : fl(x);
}

/** Stores the low bytes of the first n lanes. */
function putBytes(p: usize, x: v128, n: i32): void {
  const bytes = v128.shuffle<u8>(x, x, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
  if (n >= 4) {
    v128.store_lane<u32>(p, bytes, 0);
    return;
  }
  v128.store_lane<u8>(p, bytes, 0);
  if (n < 2) return;
  v128.store_lane<u8>(p, bytes, 1, 1);
  if (n < 3) return;
  v128.store_lane<u8>(p, bytes, 2, 2);
}

/** Bytes from `count` to the end of its word. */
function clearTail(p: usize, count: i32): void {
  for (; (count & 3) != 0; count++) store<u8>(p + <usize>count, 0);
}

@inline
function encode(kind: Kind, src: usize, minus: usize, codes: usize, cols: i32): i32 {
  let most = i32x4.splat(0);
  for (let i = 0; i < cols; i += 4) {
    const x = valueOf(kind, src + (<usize>i << 2), minus + (<usize>i << 2));
    most = i32x4.max_s(most, v128.and(v128.and(x, c(k.absMask)), laneMask(cols - i)));
  }
  most = i32x4.max_s(most, v128.shuffle<u32>(most, most, 2, 3, 0, 1));
  const amax = i32x4.extract_lane(i32x4.max_s(most, v128.shuffle<u32>(most, most, 1, 0, 3, 2)), 0);
  const isZero = amax < 0x0d800000;
  const scale = i32x4.splat(isZero ? 0 : (260 - (amax >> 23)) << 23);
  for (let i = 0; i < cols; i += 4) {
    const x = valueOf(kind, src + (<usize>i << 2), minus + (<usize>i << 2));
    const q = i32x4.sub(f32x4.add(f32x4.mul(x, scale), c(k.magic)), c(k.magic));
    const capped = i32x4.max_s(i32x4.min_s(q, i32x4.splat(127)), i32x4.splat(-127));
    putBytes(codes + <usize>i, capped, cols - i);
  }
  return isZero ? -99 : (amax >> 23) - 126;
}

export function encodeRows(
  src: usize,
  minus: usize,
  kind: i32,
  codes: usize,
  exponents: usize,
  rows: i32,
  cols: i32,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const end = share(rows, part + 1, parts);
  for (let r = share(rows, part, parts); r < end; r++) {
    const at = <usize>r * <usize>cols;
    const from = src + (at << 2);
    let exponent: i32;
    if (kind == difference) exponent = encode(difference, from, minus + (at << 2), codes + at, cols);
    else if (kind == root) exponent = encode(root, from, 0, codes + at, cols);
    else exponent = encode(0, from, 0, codes + at, cols);
    store<i8>(exponents + <usize>r, exponent);
  }
  if (part == parts - 1) {
    clearTail(codes, rows * cols);
    clearTail(exponents, rows);
  }
}

/** `addTo`: an address or 0. A step below 2^-117 makes every value smaller than 2^-100, so 0; all others, and their products, are normal numbers. */
export function decodeRows(
  codes: usize,
  exponents: usize,
  dst: usize,
  rows: i32,
  cols: i32,
  halfStep: i32,
  square: i32,
  addTo: usize,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const zero = halfStep ? c(k.half) : i32x4.splat(0);
  const end = share(rows, part + 1, parts);
  for (let r = share(rows, part, parts); r < end; r++) {
    const exponent = <i32>load<i8>(exponents + <usize>r);
    const step = i32x4.splat(exponent < -110 ? 0 : (exponent + 120) << 23);
    const row = <usize>r * <usize>cols;
    for (let i = 0; i < cols; i += 4) {
      const at = (row + <usize>i) << 2;
      const bytes = v128.load_zero<u32>(codes + row + <usize>i);
      const code = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(bytes));
      const size = v128.bitselect(zero, f32x4.convert_i32x4_s(code), i32x4.eq(code, i32x4.splat(0)));
      let value = mul(size, step);
      if (square) value = mul(value, value);
      if (addTo != 0) value = clamp(add(v128.load(addTo + at), value));
      put(dst + at, value, cols - i);
    }
  }
}
