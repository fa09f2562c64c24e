/**
 * Sums down the columns of a matrix: dst[c] = clamp(sum over rows of src[r][c]), or clamp(dst[c] + that sum). Gradients of biases.
 *
 * The sum is the reduction of NUMERICS.md over the rows; src [rows][cols], dst [cols].
 */
import { AtollError } from '#protocol/errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface ColumnSumArgs {
  src: Tensor;
  /** Another tensor than src. */
  dst: Tensor;
  rows: number;
  cols: number;
  /** Adds to what dst holds; else dst is overwritten. */
  accumulate?: boolean;
}

/** More rows would need a third level of partial sums. */
const rowsMax = 2 ** 24;

/** Throws `bad_input` when shapes do not fit. */
export function checkColumnSum({ src, dst, rows, cols }: ColumnSumArgs): void {
  const counts = [rows, cols].every((count) => Number.isSafeInteger(count) && count > 0);
  if (!counts || rows > rowsMax || src.size < rows * cols || dst.size < cols || dst === src) {
    throw new AtollError('bad_input', 'columnSum: the shapes do not fit.');
  }
}
