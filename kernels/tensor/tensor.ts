/**
 * What ops work on: tensors (f32 or u32 words), strided views of them, and quantised operands. A tensor belongs to the device that made it; its
 * representation is that device's business.
 */

import { AtollError } from '#protocol/errors.ts';

/** A flat run of 32-bit words on a device. */
export interface Tensor {
  readonly size: number;
}

/**
 * A batch of matrices inside a tensor. Element (i0, i1, r, c) lies at offset + i0 * s0 + i1 * s1 + r * rowStride + c * colStride.
 * Its position is also its index for stochastic rounding: the same whether it is read by rows or by columns.
 */
export interface View {
  tensor: Tensor;
  offset: number;
  /** Two batch dimensions and their strides; [1, 0] where there is none. */
  batch: readonly [n0: number, s0: number, n1: number, s1: number];
  rows: number;
  rowStride: number;
  cols: number;
  colStride: number;
}

/** Mantissas and exponents of rows that were quantised together: value = mantissa * 2^(exponent - nb). */
export interface Quantized {
  readonly batch: number;
  readonly rows: number;
  readonly cols: number;
  /** [batch][rows][cols], or [batch][cols][rows] when `transposed`; integers of at most `nb` bits and a sign. */
  readonly mantissas: Tensor;
  /** [batch][rows], i32. */
  readonly exponents: Tensor;
  /**
   * The rows do not lie along the contraction of the product this operand is for: the other operand must have been quantised with
   * `foldScale` set to this one, and the product takes its exponents as 0.
   */
  readonly transposed: boolean;
  /** Weights of 7 bits that are quantised whole and only multiply from the right: a device may keep them in less memory. */
  readonly narrow?: boolean;
}

/** A whole tensor as one row-major matrix, or part of it from `offset` on. */
export function matrix(tensor: Tensor, rows: number, cols: number, offset = 0): View {
  return { tensor, offset, batch: [1, 0, 1, 0], rows, rowStride: cols, cols, colStride: 1 };
}

/** The same elements with rows and columns exchanged. */
export function transpose(view: View): View {
  return {
    ...view,
    rows: view.cols,
    rowStride: view.colStride,
    cols: view.rows,
    colStride: view.rowStride,
  };
}

export function batchCount(view: View): number {
  return view.batch[0] * view.batch[2];
}

/** The highest index a view touches, plus one. */
export function viewEnd(view: View): number {
  const [n0, s0, n1, s1] = view.batch;
  return (
    view.offset +
    (n0 - 1) * s0 +
    (n1 - 1) * s1 +
    (view.rows - 1) * view.rowStride +
    (view.cols - 1) * view.colStride +
    1
  );
}

/** Throws `bad_input` for a narrow operand that is transposed. */
export function checkNarrow({ transposed, narrow }: Pick<Quantized, 'transposed' | 'narrow'>): void {
  if (transposed && narrow) throw new AtollError('bad_input', 'A transposed operand cannot be narrow.');
}
