/**
 * RMSNorm over rows of C, in PF32.
 *
 * rstd = rsqrt(sum(x * x) * 1/C + eps), eps that of LayerNorm; xhat = x * rstd; y = xhat * gain.
 * Backward: g = dy * gain; dx = rstd * (g - xhat * (sum(g * xhat) * 1/C)), added to `residual` and clamped; dgain = sum over rows of dy * xhat.
 * Every product and sum is one PF32 operation in the written order; sums are the reductions of NUMERICS.md.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface RmsNormArgs {
  x: Tensor;
  /** [cols]. */
  gain: Tensor;
  y: Tensor;
  /** [rows], kept for the backward pass. */
  rstd: Tensor;
  rows: number;
  cols: number;
}

export interface RmsNormGradArgs {
  dy: Tensor;
  x: Tensor;
  gain: Tensor;
  rstd: Tensor;
  /** Gradient that flows past the norm; may be `dx` itself. Absent: nothing is added. */
  residual?: Tensor;
  dx: Tensor;
  rows: number;
  cols: number;
}

export interface RmsNormParamGradArgs {
  dy: Tensor;
  x: Tensor;
  rstd: Tensor;
  dgain: Tensor;
  rows: number;
  cols: number;
}

/** More elements in a row or column would need a third level of partial sums. */
const longest = 2 ** 24;

/** Throws `bad_input` when tensors do not have the sizes; `full` are [rows][cols]. */
export function checkRmsNorm(
  { rows, cols }: { rows: number; cols: number },
  full: readonly (Tensor | undefined)[],
  perRow: readonly Tensor[],
  perColumn: readonly Tensor[],
): void {
  const counts = [rows, cols].every((count) => Number.isSafeInteger(count) && count > 0 && count <= longest);
  const fits =
    full.every((tensor) => !tensor || tensor.size >= rows * cols) &&
    perRow.every((tensor) => tensor.size >= rows) &&
    perColumn.every((tensor) => tensor.size >= cols);
  if (!counts || !fits) throw new AtollError('bad_input', 'rmsNorm: the shapes do not fit.');
}
