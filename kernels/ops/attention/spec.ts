/**
 * Causal softmax over attention scores, forward and backward, in place. The products around it are GEMMs.
 *
 * Row i of each rows x cols matrix attends to columns c <= i + offset (+ word 0 of `position`), at most all: s = scores * scale there; e = exp(s - max);
 * P = e * recip(sum e); 0 beyond. Backward: D = sum of P * dP over the same columns; dS = (P * (dP - D)) * scale; 0 beyond.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';

interface SoftmaxShape {
  batch: number;
  /** Queries. */
  rows: number;
  /** Keys. */
  cols: number;
  /** How many keys come before the first query's own. */
  offset: number;
  /** Its word 0 (u32) is added to `offset` when the recording runs. */
  position?: Tensor;
  scale: number;
}

export interface SoftmaxArgs extends SoftmaxShape {
  /** [batch][rows][cols] scores, become probabilities. */
  scores: Tensor;
}

export interface SoftmaxGradArgs extends SoftmaxShape {
  probabilities: Tensor;
  /** [batch][rows][cols] gradient of the probabilities, becomes that of the raw scores. */
  gradient: Tensor;
}

/** Throws `bad_input` when a tensor is too small or a number is none that a shape can have. */
export function checkSoftmax(shape: SoftmaxShape, ...tensors: Tensor[]): void {
  const { batch, rows, cols, offset, position } = shape;
  const size = batch * rows * cols;
  const fits =
    [batch, rows, cols].every((n) => Number.isSafeInteger(n) && n > 0) &&
    Number.isSafeInteger(offset) &&
    offset >= 0 &&
    offset < 2 ** 24 &&
    tensors.every((tensor) => tensor.size >= size) &&
    (!position || position.size > 0);
  if (!fits) throw new AtollError('bad_input', 'softmax: the shapes do not fit.');
}
