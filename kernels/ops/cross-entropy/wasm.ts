/** Softmax cross-entropy with its gradient in AssemblyScript. Scratch of a part: what `sumRow` takes, then a row of V + 4 words. */
import { share } from '../../tensor/wasm.ts';
import { exponentials, maxLane } from '../attention/wasm.ts';
import { add, laneMask, ln, mul, put, recipPositive, sub } from '../math/wasm.ts';
import { sumBytes, sumRow } from '../reduce/wasm.ts';

/** `train`: whether the gradient times `gradientScale` is written over the logits. */
export function crossEntropy(
  logits: usize,
  targets: usize,
  losses: usize,
  rows: i32,
  V: i32,
  train: i32,
  gradientScale: f32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const e = scratch + sumBytes(V);
  const bytes = <usize>V << 2;
  const end = share(rows, part + 1, parts);
  for (let r = share(rows, part, parts); r < end; r++) {
    const p = logits + <usize>r * bytes;
    const target = min(load<u32>(targets + (<usize>r << 2)), <u32>V - 1) << 2;
    let max = f32x4.splat(-Infinity);
    for (let i: usize = 0; i < bytes; i += 16) {
      const x = v128.load(p + i);
      v128.store(e + i, x);
      max = f32x4.pmax(max, v128.bitselect(x, max, laneMask(V - <i32>(i >> 2))));
    }
    max = maxLane(max);
    exponentials(e, bytes, max);
    const total = f32x4.splat(sumRow(e, V, scratch));
    const loss = sub(add(ln(total), max), v128.load_splat<u32>(p + target));
    v128.store_lane<u32>(losses + (<usize>r << 2), loss, 0);
    if (train) gradient(p, e, V, target, recipPositive(total), f32x4.splat(gradientScale));
  }
}

/** (e * inverse - onehot) * scale over the logits at p. */
function gradient(p: usize, e: usize, V: i32, target: usize, inverse: v128, scale: v128): void {
  const bytes = <usize>V << 2;
  for (let i: usize = 0; i < bytes; i += 16) {
    put(p + i, mul(mul(v128.load(e + i), inverse), scale), V - <i32>(i >> 2));
  }
  const hit = sub(mul(v128.load_splat<u32>(e + target), inverse), f32x4.splat(1));
  v128.store_lane<u32>(p + target, mul(hit, scale), 0);
}
