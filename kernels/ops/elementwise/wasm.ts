/** One PF32 operation an element, four at a time, in AssemblyScript. Parts share the vectors. */
import { share } from '../../tensor/wasm.ts';
import { add, clamp, mul, put, sqrt, sub } from '../math/wasm.ts';

/** Bytes from which on part `part` of `size` words begins. */
@inline
export function startOf(size: i32, part: i32, parts: i32): usize {
  return <usize>share((size + 3) >> 2, part, parts) << 4;
}

/** Words left after `bytes`. */
@inline
export function leftOf(size: i32, bytes: usize): i32 {
  return size - <i32>(bytes >> 2);
}

export function elementwiseAdd(a: usize, b: usize, dst: usize, size: i32, _scratch: usize, part: i32, parts: i32): void {
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    put(dst + i, clamp(add(v128.load(a + i), v128.load(b + i))), leftOf(size, i));
  }
}

export function elementwiseSub(a: usize, b: usize, dst: usize, size: i32, _scratch: usize, part: i32, parts: i32): void {
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    put(dst + i, clamp(sub(v128.load(a + i), v128.load(b + i))), leftOf(size, i));
  }
}

export function elementwiseScale(a: usize, factor: f32, dst: usize, size: i32, _scratch: usize, part: i32, parts: i32): void {
  const by = f32x4.splat(factor);
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    put(dst + i, clamp(mul(v128.load(a + i), by)), leftOf(size, i));
  }
}

export function elementwiseSqrt(a: usize, dst: usize, size: i32, _scratch: usize, part: i32, parts: i32): void {
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    put(dst + i, clamp(sqrt(v128.load(a + i))), leftOf(size, i));
  }
}

export function nesterov(
  p: usize,
  momentum: usize,
  delta: usize,
  size: i32,
  lr: f32,
  mu: f32,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const rate = f32x4.splat(lr);
  const keep = f32x4.splat(mu);
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    const left = leftOf(size, i);
    const d = v128.load(delta + i);
    const m = clamp(add(mul(keep, v128.load(momentum + i)), d));
    put(momentum + i, m, left);
    put(p + i, clamp(add(v128.load(p + i), mul(rate, add(d, mul(keep, m))))), left);
  }
}
