/**
 * GELU in AssemblyScript, forward and backward. One flush each, at the end; the others cannot be seen (facts 1 and 2 of math/wasm.ts):
 *
 * The cubic term reaches x only when x > 2^-14, far from any flush. k0 times the sum may be below 2^-100: tanh is then as small, which 1 + t and 1 - t * t
 * do not see. Forward, x / 2 below 2^-100 is multiplied by exactly 1. Backward, (1 + t) / 2 is 0 or at least 2^-26, and 1 - t * t is 0 with it or at least
 * 2^-24; so a product of x / 2, 1 - t * t and the slope that is flushed anywhere is below 2^-100 in the end, and the sum does not see it.
 */
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { leftOf, startOf } from '../elementwise/wasm.ts';
import { fl, mul, put, tanh } from '../math/wasm.ts';

@inline
function inner(x: v128): v128 {
  const cubic = f32x4.mul(c(k.gelu1), f32x4.mul(f32x4.mul(x, x), x));
  return tanh(f32x4.mul(c(k.gelu0), f32x4.add(x, cubic)));
}

export function gelu(x: usize, y: usize, size: i32, _scratch: usize, part: i32, parts: i32): void {
  const one = c(k.one);
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    const value = v128.load(x + i);
    const half = f32x4.mul(c(k.half), value);
    put(y + i, fl(f32x4.mul(half, f32x4.add(one, inner(value)))), leftOf(size, i));
  }
}

export function geluGrad(x: usize, dy: usize, dx: usize, size: i32, _scratch: usize, part: i32, parts: i32): void {
  const one = c(k.one);
  const half = c(k.half);
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    const value = v128.load(x + i);
    const t = inner(value);
    const squared = f32x4.mul(c(k.gelu3), f32x4.mul(value, value));
    const slope = f32x4.mul(c(k.gelu0), f32x4.add(one, squared));
    const bend = f32x4.mul(f32x4.mul(f32x4.mul(half, value), f32x4.sub(one, f32x4.mul(t, t))), slope);
    const whole = f32x4.add(f32x4.mul(half, f32x4.add(one, t)), bend);
    put(dx + i, mul(v128.load(dy + i), whole), leftOf(size, i));
  }
}
