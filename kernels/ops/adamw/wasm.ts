/** AdamW in AssemblyScript. What changes with the step is read from the step's scalars. */
import { leftOf, startOf } from '../elementwise/wasm';
import { add, clamp, mul, put, recip, sqrt, sub } from '../math/wasm';

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
}

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
  const size = a.size;
  const end = startOf(size, part + 1, parts);
  for (let i = startOf(size, part, parts); i < end; i += 16) {
    const left = leftOf(size, i);
    const g = v128.load(a.g + i);
    const m = add(mul(beta1, v128.load(a.m + i)), mul(rest1, g));
    const v = add(mul(beta2, v128.load(a.v + i)), mul(rest2, mul(g, g)));
    put(a.m + i, m, left);
    put(a.v + i, v, left);
    const update = mul(mul(m, bias1), recip(add(sqrt(mul(v, bias2)), eps)));
    const p = v128.load(a.p + i);
    put(a.p + i, clamp(sub(sub(p, mul(decay, p)), mul(lr, update))), left);
  }
}
