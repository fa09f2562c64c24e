/** Reference of the elementwise operations. */
import { add, clamp, mul, sqrt, sub } from '../math/cpu.ts';

type F = Float32Array;

export function binary(kind: 'add' | 'sub', a: F, b: F, dst: F, size: number): void {
  const op = kind === 'add' ? add : sub;
  for (let i = 0; i < size; i++) dst[i] = clamp(op(a[i] as number, b[i] as number));
}

export function scale(a: F, factor: number, dst: F, size: number): void {
  for (let i = 0; i < size; i++) dst[i] = clamp(mul(a[i] as number, factor));
}

export function root(a: F, dst: F, size: number): void {
  for (let i = 0; i < size; i++) dst[i] = clamp(sqrt(a[i] as number));
}

export function nesterov(p: F, momentum: F, delta: F, size: number, lr: number, mu: number): void {
  for (let i = 0; i < size; i++) {
    const d = delta[i] as number;
    const m = clamp(add(mul(mu, momentum[i] as number), d));
    momentum[i] = m;
    p[i] = clamp(add(p[i] as number, mul(lr, add(d, mul(mu, m)))));
  }
}
