/** Reference of SiLU, forward and backward. */
import { add, mul, sigmoid, silu as siluOf, sub } from '../math/cpu.ts';

/** y = silu(x). */
export function silu(x: Float32Array, y: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) y[i] = siluOf(x[i] as number);
}

/** d silu / dx. */
export function siluSlope(x: number): number {
  const s = sigmoid(x);
  return mul(s, add(1, mul(x, sub(1, s))));
}

export function siluGrad(x: Float32Array, dy: Float32Array, dx: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) dx[i] = mul(dy[i] as number, siluSlope(x[i] as number));
}
