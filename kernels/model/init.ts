/**
 * The first checkpoint of a job, a pure function of model and seed: uniform weights of the layout's standard deviation, made of exact operations only.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { ModelConfig } from '#protocol/messages/job.ts';
import { constant, lowbias32, mul } from '../ops/math/cpu.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { parameterCount, parameterLayout } from './layout.ts';
import { zeroRows } from './rows.ts';

/** Weights in layout order. Element i is (u - 2^23) * 2^-23 * a with u a 24-bit hash of (seed, i) and a = std * sqrt(3). */
export function initialWeights(model: ModelConfig, seed: number): Float32Array {
  const weights = new Float32Array(parameterCount(model));
  const base = lowbias32(seed);
  for (const { offset, rows, cols, init } of parameterLayout(model)) {
    const size = rows * cols;
    if ('value' in init) {
      weights.fill(init.value, offset, offset + size);
      continue;
    }
    // The root is rounded to 20 bits, so that a last-place difference between engines' Math.sqrt cannot reach a bit.
    const half = constant(Math.round(init.std * Math.sqrt(3) * 2 ** 20) / 2 ** 20);
    for (let i = offset; i < offset + size; i++) {
      const u = lowbias32((base + Math.imul(i, 0x9e3779b9)) >>> 0) >>> 8;
      weights[i] = mul((u - 2 ** 23) / 2 ** 23, half);
    }
  }
  return weights;
}

/** Puts the first checkpoint's blocks into `blocks` and returns its CID. */
export function initialCheckpoint(model: ModelConfig, seed: number, blocks: BlockStore): Promise<Cid> {
  const layout = parameterLayout(model);
  return writeCheckpoint(blocks, {
    model,
    step: 0,
    weights: initialWeights(model, seed),
    momentum: new Float32Array(parameterCount(model)),
    m: zeroRows(layout),
    s: zeroRows(layout),
  });
}
