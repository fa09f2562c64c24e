/**
 * Softmax cross-entropy over rows of V logits, in place.
 *
 * e = exp(l - max); loss = (ln(sum e) + max) - l[target]; gradient = (e * recip(sum e) - onehot) * gradientScale, written over the logits.
 */
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
