/** GEMM policies of NUMERICS.md: how wide mantissas are, and whether gradients are rounded stochastically. */
import type { Policy } from '#protocol/messages/job.ts';
import type { Bits } from '../ops/quantize/spec.ts';

export interface Precision {
  nb: Bits;
  /** Stochastic rounding of the gradient operand in dX and dW products. */
  stochastic: boolean;
}

export const precisionOf: Record<Policy, Precision> = {
  i8sr: { nb: 7, stochastic: true },
  i10sr: { nb: 10, stochastic: true },
  i15: { nb: 15, stochastic: false },
};
