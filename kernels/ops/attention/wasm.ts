/**
 * Causal softmax in AssemblyScript, forward and backward, row by row in place.
 *
 * Row r of each rows x cols matrix attends to r + offset + 1 columns, plus the word at `position` when that is no 0, at most all.
 * Scratch of a part: what `sumRow` takes, then a row of cols + 4 words. A sum of exponentials lies in 1 .. cols, so its reciprocal needs no flush.
 */
import { share } from '../../tensor/wasm.ts';
import { exp, laneMask, mul, put, recipPositive, sub } from '../math/wasm.ts';
import { sumBytes, sumRow } from '../reduce/wasm.ts';

/** The largest lane, in every lane. */
@inline
export function maxLane(x: v128): v128 {
  x = f32x4.pmax(x, v128.shuffle<u32>(x, x, 2, 3, 0, 1));
  return f32x4.pmax(x, v128.shuffle<u32>(x, x, 1, 0, 3, 2));
}

/** e[i] = exp(e[i] - max) in place. */
@inline
export function exponentials(e: usize, bytes: usize, max: v128): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(e + i, exp(sub(v128.load(e + i), max)));
}

export function softmax(
  scores: usize,
  batch: i32,
  rows: i32,
  cols: i32,
  offset: i32,
  position: usize,
  scale: f32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const e = scratch + sumBytes(cols);
  const by = f32x4.splat(scale);
  const before = offset + (position == 0 ? 0 : load<i32>(position)) + 1;
  const end = share(batch * rows, part + 1, parts);
  for (let row = share(batch * rows, part, parts); row < end; row++) {
    const p = scores + (<usize>(row * cols) << 2);
    const count = min(cols, (row % rows) + before);
    const bytes = <usize>count << 2;
    let max = f32x4.splat(-Infinity);
    for (let i: usize = 0; i < bytes; i += 16) {
      const s = mul(v128.load(p + i), by);
      v128.store(e + i, s);
      max = f32x4.pmax(max, v128.bitselect(s, max, laneMask(count - <i32>(i >> 2))));
    }
    exponentials(e, bytes, maxLane(max));
    const inverse = recipPositive(f32x4.splat(sumRow(e, count, scratch)));
    for (let i: usize = 0; i < bytes; i += 16) {
      put(p + i, mul(v128.load(e + i), inverse), count - <i32>(i >> 2));
    }
    memory.fill(p + bytes, 0, <usize>(cols - count) << 2);
  }
}

export function softmaxGrad(
  probabilities: usize,
  gradient: usize,
  batch: i32,
  rows: i32,
  cols: i32,
  offset: i32,
  position: usize,
  scale: f32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const products = scratch + sumBytes(cols);
  const by = f32x4.splat(scale);
  const before = offset + (position == 0 ? 0 : load<i32>(position)) + 1;
  const end = share(batch * rows, part + 1, parts);
  for (let row = share(batch * rows, part, parts); row < end; row++) {
    const at = <usize>(row * cols) << 2;
    const p = probabilities + at;
    const d = gradient + at;
    const count = min(cols, (row % rows) + before);
    const bytes = <usize>count << 2;
    for (let i: usize = 0; i < bytes; i += 16) {
      v128.store(products + i, mul(v128.load(p + i), v128.load(d + i)));
    }
    const total = f32x4.splat(sumRow(products, count, scratch));
    for (let i: usize = 0; i < bytes; i += 16) {
      const inner = sub(v128.load(d + i), total);
      put(d + i, mul(mul(v128.load(p + i), inner), by), count - <i32>(i >> 2));
    }
    memory.fill(d + bytes, 0, <usize>(cols - count) << 2);
  }
}
