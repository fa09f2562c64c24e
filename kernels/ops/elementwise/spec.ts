/**
 * One PF32 operation an element, for what happens once a round: deltas, averages, roots, and the outer optimiser.
 *
 * add: a + b; sub: a - b; scale: a * factor; sqrt: root of a >= 0; all clamped.
 * nesterov: m = clamp(mu * m + d); p = clamp(p + lr * (d + mu * m)).
 */
import type { Tensor } from '../../tensor/tensor.ts';

export type ElementwiseArgs = { dst: Tensor; a: Tensor; size: number } & (
  { kind: 'add' | 'sub'; b: Tensor } | { kind: 'scale'; factor: number } | { kind: 'sqrt' }
);

export interface NesterovArgs {
  p: Tensor;
  momentum: Tensor;
  delta: Tensor;
  size: number;
  lr: number;
  mu: number;
}

/** dst[at] = sum of the first `count` values of src, times factor. */
export interface SumArgs {
  src: Tensor;
  count: number;
  factor: number;
  dst: Tensor;
  at: number;
}
