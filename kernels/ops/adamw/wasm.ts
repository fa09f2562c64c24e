/** AdamW in AssemblyScript. What changes with the step is read from the step's scalars. */
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { leftOf, startOf } from '../elementwise/wasm.ts';
import { add, clamp, mul, put, recip, recipPositive, sqrt, sub } from '../math/wasm.ts';

@unmanaged
export class Adamw {
  p: usize;
  g: usize;
  m: usize;
  v: usize;
  /** Words: seed, lr, bias1, bias2. */
  scalars: usize;
  size: i32;
  beta1: f32;
  beta2: f32;
  eps: f32;
  weightDecay: f32;
  /** Address of a word that multiplies the gradient, or 0. */
  gradScale: usize;
}

/** Below `least` in size, but not 0. */
@inline
function small(x: v128, size: v128, least: v128): v128 {
  return v128.andnot(f32x4.lt(size, least), f32x4.eq(x, i32x4.splat(0)));
}

@inline
function inside(x: f32, least: f32, most: f32): bool {
  return x >= least && x <= most;
}

/** Whether the step's scalars are such that the short way of `adamw` holds. */
function areUsual(a: Adamw): bool {
  const betas = inside(a.beta1, 0.001, 0.9999) && inside(a.beta2, 0.001, 0.9999);
  const biases = inside(load<f32>(a.scalars, 8), 1, 1e6) && inside(load<f32>(a.scalars, 12), 1, 1e6);
  const rates = inside(load<f32>(a.scalars, 4), 0, 0.5) && inside(a.weightDecay, 0, 1);
  return betas && biases && rates && inside(a.eps, 1e-15, 1);
}

/**
 * AdamW without flushes but the last, for usual scalars and where g, m, v and p are 0 or within 2^-40, 2^-60, 2^-80, 2^-50 and 2^30 (v: 2^60): m and v
 * then stay above 2^-100 or are 0, and so does the denominator; what may fall below (the update, its product with lr, the decay) is subtracted from a p
 * that is above 2^-51, which does not see it, or from 0, after which it is flushed.
 */
export function adamw(a: Adamw, _scratch: usize, part: i32, parts: i32): void {
  const lr = v128.load_splat<u32>(a.scalars, 4);
  const bias1 = v128.load_splat<u32>(a.scalars, 8);
  const bias2 = v128.load_splat<u32>(a.scalars, 12);
  const beta1 = f32x4.splat(a.beta1);
  const beta2 = f32x4.splat(a.beta2);
  const rest1 = sub(f32x4.splat(1), beta1);
  const rest2 = sub(f32x4.splat(1), beta2);
  const eps = f32x4.splat(a.eps);
  const decay = mul(lr, f32x4.splat(a.weightDecay));
  const gradScale = v128.load_splat<u32>(a.gradScale);
  const usual = areUsual(a);
  const size = a.size;
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    const left = leftOf(size, i);
    let g = v128.load(a.g + i);
    if (a.gradScale != 0) g = mul(g, gradScale);
    const m = v128.load(a.m + i);
    const v = v128.load(a.v + i);
    const p = v128.load(a.p + i);
    if (usual && left >= 4 && isUsual(g, m, v, p)) {
      const m1 = f32x4.add(f32x4.mul(beta1, m), f32x4.mul(rest1, g));
      const v1 = f32x4.add(f32x4.mul(beta2, v), f32x4.mul(rest2, f32x4.mul(g, g)));
      v128.store(a.m + i, m1);
      v128.store(a.v + i, v1);
      const root = f32x4.add(sqrt(f32x4.mul(v1, bias2)), eps);
      const update = f32x4.mul(f32x4.mul(m1, bias1), recipPositive(root));
      const kept = f32x4.sub(p, f32x4.mul(decay, p));
      v128.store(a.p + i, clamp(sub(kept, f32x4.mul(lr, update))));
      continue;
    }
    const m1 = add(mul(beta1, m), mul(rest1, g));
    const v1 = add(mul(beta2, v), mul(rest2, mul(g, g)));
    put(a.m + i, m1, left);
    put(a.v + i, v1, left);
    const update = mul(mul(m1, bias1), recip(add(sqrt(mul(v1, bias2)), eps)));
    put(a.p + i, clamp(sub(sub(p, mul(decay, p)), mul(lr, update))), left);
  }
}

/** Whether all four lanes lie where no flush can happen: see `adamw`. */
@inline
function isUsual(g: v128, m: v128, v: v128, p: v128): bool {
  const mask = c(k.absMask);
  const sizeG = v128.and(g, mask);
  const sizeM = v128.and(m, mask);
  const sizeP = v128.and(p, mask);
  const least = v128.or(
    v128.or(small(g, sizeG, c(k.twoMinus40)), small(m, sizeM, c(k.twoMinus60))),
    v128.or(small(v, v, c(k.twoMinus80)), small(p, sizeP, c(k.twoMinus50))),
  );
  const most = f32x4.pmax(f32x4.pmax(sizeG, sizeM), sizeP);
  const beyond = v128.or(f32x4.gt(most, c(k.two30)), f32x4.gt(v, c(k.two60)));
  return !v128.any_true(v128.or(least, beyond));
}
