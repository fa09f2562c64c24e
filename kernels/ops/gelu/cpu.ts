/** Reference of GELU, forward and backward. */
import { add, mul, sub, tanh } from '../math/cpu.ts';
import { geluK0, geluK1, geluK3 } from './spec.ts';

function inner(x: number): number {
  return tanh(mul(geluK0, add(x, mul(geluK1, mul(mul(x, x), x)))));
}

export function gelu(x: Float32Array, y: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) {
    const value = x[i] as number;
    y[i] = mul(mul(0.5, value), add(1, inner(value)));
  }
}

export function geluGrad(x: Float32Array, dy: Float32Array, dx: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) {
    const value = x[i] as number;
    const t = inner(value);
    const slope = mul(geluK0, add(1, mul(geluK3, mul(value, value))));
    const bend = mul(mul(mul(0.5, value), sub(1, mul(t, t))), slope);
    dx[i] = mul(dy[i] as number, add(mul(0.5, add(1, t)), bend));
  }
}
