/**
 * The norm of a gradient that lies in several tensors, and the factor that clips it.
 *
 * sumSquares: dst[at] = sum of x * x over the first `count` values of src, in the reduction order of NUMERICS.md.
 * clipScale: total = sum of the first `count` partials, in that order too; norm = sqrt(total); dst[0] = norm > max ? max * recip(norm) : 1.
 * AdamW multiplies its gradient by that word (`gradScale`), so that no tensor is rewritten. Source: torch.nn.utils.clip_grad_norm_, without its 1e-6.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface SumSquaresArgs {
  src: Tensor;
  count: number;
  dst: Tensor;
  at: number;
}

export interface ClipScaleArgs {
  /** What `sumSquares` wrote, one word a tensor. */
  partials: Tensor;
  count: number;
  /** PF32, above 0. */
  max: number;
  dst: Tensor;
}

/** Throws `bad_input` when the shapes do not fit. */
export function checkSumSquares({ src, count, dst, at }: SumSquaresArgs): void {
  checkSizes('sumSquares', { count, 'at + 1': at + 1 });
  checkTensors('sumSquares', { src: [src, count], dst: [dst, at + 1] });
  if (src === dst) throw new AtollError('bad_input', 'sumSquares: an output cannot be an input too.');
}

/** Throws `bad_input` when the shapes do not fit or `max` is no norm. */
export function checkClipScale({ partials, count, max, dst }: ClipScaleArgs): void {
  checkSizes('clipScale', { count });
  checkTensors('clipScale', { partials: [partials, count], dst: [dst, 1] });
  if (partials === dst) throw new AtollError('bad_input', 'clipScale: an output cannot be an input too.');
  if (Math.fround(max) !== max || !(max >= 2 ** -100 && max <= 2 ** 64)) {
    throw new AtollError('bad_input', `clipScale: ${max} is no PF32 norm between 2^-100 and 2^64.`);
  }
}
