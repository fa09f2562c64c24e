/**
 * What every op's `check*` says about its arguments: sizes are counts, tensors are long enough. Called at record time by all backends, so that a shape
 * that does not fit is refused in the same way everywhere.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Tensor } from './tensor.ts';

/** Throws `bad_input` unless every size is a whole number from 1 on. */
export function checkSizes(op: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (Number.isSafeInteger(size) && size > 0) continue;
    throw new AtollError('bad_input', `${op}: ${name} is ${size}, not a count.`);
  }
}

/** Throws `bad_input` when a tensor has fewer words than the op touches. A tensor that is not given is not looked at. */
export function checkTensors(
  op: string,
  tensors: Readonly<Record<string, readonly [tensor: Tensor | undefined, words: number]>>,
): void {
  for (const [name, [tensor, words]] of Object.entries(tensors)) {
    if (!tensor || tensor.size >= words) continue;
    throw new AtollError('bad_input', `${op}: ${name} has ${tensor.size} words of ${words}.`);
  }
}
