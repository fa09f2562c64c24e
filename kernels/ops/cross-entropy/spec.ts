/**
 * Softmax cross-entropy over rows of V logits, in place.
 *
 * A target from V on counts as V - 1, so that a wrong one reads and writes nothing else.
 * e = exp(l - max); loss = (ln(sum e) + max) - l[target]; gradient = (e * recip(sum e) - onehot) * gradientScale, written over the logits.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface CrossEntropyArgs {
  /** [rows][V]; holds the gradient afterwards when `gradientScale` is given. */
  logits: Tensor;
  /** [rows] u32. */
  targets: Tensor;
  /** [rows] nats. */
  losses: Tensor;
  rows: number;
  V: number;
  gradientScale?: number;
}

/** Throws `bad_input` when the shapes do not fit. */
export function checkCrossEntropy({ logits, targets, losses, rows, V }: CrossEntropyArgs): void {
  checkSizes('crossEntropy', { rows, V });
  checkTensors('crossEntropy', {
    logits: [logits, rows * V],
    targets: [targets, rows],
    losses: [losses, rows],
  });
  if (V > 2 ** 24) throw new AtollError('bad_input', 'crossEntropy: a row has more than 2^24 logits.');
}
