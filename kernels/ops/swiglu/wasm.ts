/**
 * SiLU, SwiGLU and their gradients in AssemblyScript. Raw operations (math/wasm.ts): e^-x lies in 2^-99 .. 2^99 and feeds 1 +, so the sum is below 2^99 and its
 * reciprocal above 2^-99; 1 - s and 1 + x * (1 - s) are sums with the constant 1. Products that may be tiny are flushed.
 */
import { share, View } from '../../tensor/wasm.ts';
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { clamp, exp, mul, put, recipPositive } from '../math/wasm.ts';

@inline
function sigmoid(x: v128): v128 {
  return recipPositive(f32x4.add(c(k.one), exp(v128.xor(x, c(k.signMask)))));
}

/** d silu / dx, given sigmoid(x). */
@inline
function slope(x: v128, s: v128): v128 {
  const one = c(k.one);
  return mul(s, f32x4.add(one, f32x4.mul(x, f32x4.sub(one, s))));
}

/** y = silu(x) over `size` words of one row; y may be x. */
export function siluRow(x: usize, y: usize, size: i32): void {
  for (let left = size; left > 0; left -= 4, x += 16, y += 16) {
    const value = v128.load(x);
    put(y, mul(value, sigmoid(value)), left);
  }
}

/** dx = dy * slope(x); dx may be dy. */
export function siluGradRow(x: usize, dy: usize, dx: usize, size: i32): void {
  for (let left = size; left > 0; left -= 4, x += 16, dy += 16, dx += 16) {
    const value = v128.load(x);
    put(dx, mul(v128.load(dy), slope(value, sigmoid(value))), left);
  }
}

/** Address of a row. */
@inline
function rowAt(v: View, r: i32): usize {
  return v.data + (<usize>(v.offset + r * v.rowStride) << 2);
}

/** Parts share the rows. */
export function swiglu(gate: View, up: View, y: usize, _scratch: usize, part: i32, parts: i32): void {
  const bytes = <usize>gate.cols << 2;
  const end = share(gate.rows, part + 1, parts);
  for (let r = share(gate.rows, part, parts); r < end; r++) {
    const g = rowAt(gate, r);
    const u = rowAt(up, r);
    const to = y + <usize>r * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      const x = v128.load(g + i);
      put(to + i, clamp(mul(mul(x, sigmoid(x)), v128.load(u + i))), gate.cols - <i32>(i >> 2));
    }
  }
}

export function swigluGrad(
  gate: View,
  up: View,
  dy: usize,
  dgate: View,
  dup: View,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const bytes = <usize>gate.cols << 2;
  const end = share(gate.rows, part + 1, parts);
  for (let r = share(gate.rows, part, parts); r < end; r++) {
    const g = rowAt(gate, r);
    const u = rowAt(up, r);
    const dg = rowAt(dgate, r);
    const du = rowAt(dup, r);
    const from = dy + <usize>r * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = gate.cols - <i32>(i >> 2);
      const x = v128.load(g + i);
      const d = v128.load(from + i);
      const s = sigmoid(x);
      put(dg + i, clamp(mul(mul(d, v128.load(u + i)), slope(x, s))), left);
      put(du + i, clamp(mul(d, mul(x, s))), left);
    }
  }
}
