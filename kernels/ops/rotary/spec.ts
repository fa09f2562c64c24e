/**
 * Rotary positions: pairs (i, i + HD/2) of each head are turned by the angle of their row's position, in place.
 *
 * y0 = clamp(x0 * c - x1 * s); y1 = clamp(x1 * c + x0 * s), c and s from row position[r] of the tables, each operation PF32 in the written order. `inverse`
 * turns back, which is the gradient: y0 = clamp(x0 * c + x1 * s); y1 = clamp(x1 * c - x0 * s). A position past the tables leaves its row as it is.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface RotaryArgs {
  /** Element i of head h of row r lies at offset + r * rowStride + h * headStride + i. */
  x: Tensor;
  offset: number;
  rowStride: number;
  heads: number;
  headStride: number;
  rows: number;
  /** Even. */
  HD: number;
  /** [positions][HD/2] each. */
  cos: Tensor;
  sin: Tensor;
  /** [rows] u32. */
  positions: Tensor;
  inverse: boolean;
}

/** Rows of the tables. */
export function tableRows({ cos, HD }: RotaryArgs): number {
  return Math.floor(cos.size / (HD / 2));
}

/** Throws `bad_input` when shapes do not fit, or heads lie on top of each other. */
export function checkRotary(args: RotaryArgs): void {
  const { x, offset, rowStride, heads, headStride, rows, HD, cos, sin, positions } = args;
  const counts = [rows, heads, HD / 2].every((count) => Number.isSafeInteger(count) && count > 0);
  const places = [offset, rowStride, headStride].every((at) => Number.isSafeInteger(at) && at >= 0);
  const fits =
    (heads === 1 || headStride >= HD) &&
    (rows === 1 || rowStride >= (heads - 1) * headStride + HD) &&
    offset + (rows - 1) * rowStride + (heads - 1) * headStride + HD <= x.size &&
    tableRows(args) > 0 &&
    sin.size >= cos.size &&
    positions.size >= rows &&
    ![cos, sin, positions].includes(x);
  if (!counts || !places || !fits) throw new AtollError('bad_input', 'rotary: the shapes do not fit.');
}
