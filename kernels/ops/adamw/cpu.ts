/** Reference of AdamW. */
import { add, clamp, mul, recip, sqrt, sub } from '../math/cpu.ts';

type F = Float32Array;

export interface AdamwStep {
  lr: number;
  bias1: number;
  bias2: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  gradScale: number;
}

export function adamw(p: F, g: F, m: F, v: F, size: number, step: AdamwStep): void {
  const { lr, bias1, bias2, beta1, beta2, eps, weightDecay, gradScale } = step;
  const rest1 = sub(1, beta1);
  const rest2 = sub(1, beta2);
  const decay = mul(lr, weightDecay);
  for (let i = 0; i < size; i++) {
    const gi = mul(g[i] as number, gradScale);
    const mi = add(mul(beta1, m[i] as number), mul(rest1, gi));
    const vi = add(mul(beta2, v[i] as number), mul(rest2, mul(gi, gi)));
    m[i] = mi;
    v[i] = vi;
    const update = mul(mul(mi, bias1), recip(add(sqrt(mul(vi, bias2)), eps)));
    const pi = p[i] as number;
    p[i] = clamp(sub(sub(pi, mul(decay, pi)), mul(lr, update)));
  }
}
