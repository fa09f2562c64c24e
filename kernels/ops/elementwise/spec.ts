/**
 * One PF32 operation an element, for what happens once a round: deltas, averages, roots, and the outer optimiser.
 *
 * add: a + b; sub: a - b; scale: a * factor; sqrt: root of a >= 0; all clamped.
 * nesterov: m = clamp(mu * m + d); p = clamp(p + lr * (d + mu * m)).
 */
import { checkSizes, checkTensors } from '../../tensor/check.ts';
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

/** Throws `bad_input` when the shapes do not fit; so do those below. */
export function checkElementwise(args: ElementwiseArgs): void {
  const { dst, a, size } = args;
  checkSizes('elementwise', { size });
  const b = 'b' in args ? args.b : undefined;
  checkTensors('elementwise', { a: [a, size], b: [b, size], dst: [dst, size] });
}

export function checkNesterov({ p, momentum, delta, size }: NesterovArgs): void {
  checkSizes('nesterov', { size });
  checkTensors('nesterov', { p: [p, size], momentum: [momentum, size], delta: [delta, size] });
}

export function checkSum({ src, count, dst, at }: SumArgs): void {
  checkSizes('sum', { count, 'at + 1': at + 1 });
  checkTensors('sum', { src: [src, count], dst: [dst, at + 1] });
}
