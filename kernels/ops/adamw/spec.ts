/**
 * AdamW on one tensor, in PF32, in this order, after g = g * gradScale where one is given:
 * m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * (g * g); u = (m * bias1) * recip(sqrt(v * bias2) + eps);
 * p = p - (lr * weightDecay) * p; p = clamp(p - lr * u).
 * lr, bias1, bias2 differ from step to step and lie in `scalars` (see step-scalars.ts).
 */
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface AdamwArgs {
  p: Tensor;
  g: Tensor;
  m: Tensor;
  v: Tensor;
  scalars: Tensor;
  size: number;
  beta1: number;
  beta2: number;
  /** At least 2^-100. */
  eps: number;
  weightDecay: number;
  /** Word 0 multiplies the gradient: see ops/clip. */
  gradScale?: Tensor;
}

/** Words of the `scalars` tensor, written before each step. */
export const scalarWords = { seed: 0, lr: 1, bias1: 2, bias2: 3 } as const;
export const scalarCount = 4;

/** Throws `bad_input` when the shapes do not fit. */
export function checkAdamw({ p, g, m, v, scalars, size, gradScale }: AdamwArgs): void {
  checkSizes('adamw', { size });
  checkTensors('adamw', {
    p: [p, size],
    g: [g, size],
    m: [m, size],
    v: [v, size],
    scalars: [scalars, scalarCount],
    gradScale: [gradScale, 1],
  });
}
