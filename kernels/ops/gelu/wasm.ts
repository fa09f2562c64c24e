/**
 * GELU in AssemblyScript, forward and backward. One flush each, at the end; the others cannot be seen (facts 1 and 2 of math/wasm.ts):
 *
 * The cubic term reaches x only when x > 2^-14, far from any flush. k0 times the sum may be below 2^-100: tanh is then as small, which 1 + t and 1 - t * t
 * do not see. Forward, x / 2 below 2^-100 is multiplied by exactly 1. Backward, (1 + t) / 2 is 0 or at least 2^-26, and 1 - t * t is 0 with it or at least
 * 2^-24; so a product of x / 2, 1 - t * t and the slope that is flushed anywhere is below 2^-100 in the end, and the sum does not see it.
 *
 * 64 elements at a time go through three short loops instead of one long one: a chain of a hundred dependent operations fills a processor's window, so
 * that one element's latency would not overlap with the next one's.
 */
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { leftOf, startOf } from '../elementwise/wasm.ts';
import { fl, put, tanhFromExp, tanhExp } from '../math/wasm.ts';

/** Bytes of x that are taken at a time, and of the scratch for each of u and e. */
const blockBytes: usize = 256;

/** tanh's argument u at scratch, 1 + e^(2 |u|) behind it, for the values at x. */
function prepare(x: usize, bytes: usize, scratch: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    const value = v128.load(x + i);
    const cubic = f32x4.mul(c(k.gelu1), f32x4.mul(f32x4.mul(value, value), value));
    v128.store(scratch + i, f32x4.mul(c(k.gelu0), f32x4.add(value, cubic)));
  }
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(scratch + blockBytes + i, tanhExp(v128.load(scratch + i)));
  }
}

/** tanh of what `prepare` left for element i. */
@inline
function tanhAt(scratch: usize, i: usize): v128 {
  return tanhFromExp(v128.load(scratch + i), v128.load(scratch + blockBytes + i));
}

export function gelu(x: usize, y: usize, size: i32, scratch: usize, part: i32, parts: i32): void {
  const end = startOf(size, part + 1, parts);
  for (let from = startOf(size, part, parts); from < end; from += blockBytes) {
    const bytes = min(blockBytes, end - from);
    prepare(x + from, bytes, scratch);
    for (let i: usize = 0; i < bytes; i += 16) {
      const half = f32x4.mul(c(k.half), v128.load(x + from + i));
      const value = fl(f32x4.mul(half, f32x4.add(c(k.one), tanhAt(scratch, i))));
      put(y + from + i, value, leftOf(size, from + i));
    }
  }
}

export function geluGrad(
  x: usize,
  dy: usize,
  dx: usize,
  size: i32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const one = c(k.one);
  const half = c(k.half);
  const end = startOf(size, part + 1, parts);
  for (let from = startOf(size, part, parts); from < end; from += blockBytes) {
    const bytes = min(blockBytes, end - from);
    prepare(x + from, bytes, scratch);
    for (let i: usize = 0; i < bytes; i += 16) {
      const at = from + i;
      const value = v128.load(x + at);
      const t = tanhAt(scratch, i);
      const squared = f32x4.mul(c(k.gelu3), f32x4.mul(value, value));
      const slope = f32x4.mul(c(k.gelu0), f32x4.add(one, squared));
      const bend = f32x4.mul(f32x4.mul(f32x4.mul(half, value), f32x4.sub(one, f32x4.mul(t, t))), slope);
      const whole = f32x4.add(f32x4.mul(half, f32x4.add(one, t)), bend);
      put(dx + at, fl(f32x4.mul(v128.load(dy + at), whole)), leftOf(size, at));
    }
  }
}
