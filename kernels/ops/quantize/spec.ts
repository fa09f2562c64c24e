/**
 * QUANT of NUMERICS.md: rows of f32 -> integers of nb bits with one exponent a row. All rows of an operand at once, or some of them from a row on.
 *
 * Rounding is RNE, or stochastic (SR) with counter-based randomness when `site` is given: seed = lowbias32(step seed ^ site * 0x85EBCA6B),
 * rnd = lowbias32(seed + index * 0x9E3779B9), index being the element's position in its tensor.
 */
import { AtollError } from '#protocol/errors.ts';
import { batchCount, type Quantized, type Tensor, type View, viewEnd } from '../../tensor/tensor.ts';

/** Bits of the mantissa: 7 (i8), 10 (i10), 15 (i15). */
export type Bits = 7 | 10 | 15;

/** Largest mantissa for each width. */
export const qmaxOf: Record<Bits, number> = { 7: 127, 10: 1023, 15: 32639 };

/** Exponent of a row that is all zero: the lowest a row can have. */
export const zeroExponent = -99;

export interface QuantizeArgs {
  src: View;
  dst: Quantized;
  nb: Bits;
  /** Stochastic rounding at this site of the step; RNE when absent. */
  stochastic?: { site: number; scalars: Tensor };
  /**
   * Multiplies column c of every row by 2^(exponents[c] - nb) first (PF32 MUL): moves the row scales of a transposed operand into this one.
   * Shapes: foldScale.rows >= src.cols, equal batch.
   */
  foldScale?: Quantized;
  /**
   * Row r of src becomes row dstRow + r of dst, whose other rows stay as they are: a cache that grows. A tensor holds the row in word 0 when the recording
   * runs; what would then lie past the end is left out. Absent: row 0, and src has as many rows as dst.
   */
  dstRow?: number | Tensor;
}

/** The row as far as it is known when an op is recorded, and the tensor that holds it otherwise. */
export function dstRowOf({ dstRow }: QuantizeArgs): { row: number; tensor: Tensor | null } {
  return typeof dstRow === 'object' ? { row: 0, tensor: dstRow } : { row: dstRow ?? 0, tensor: null };
}

/** Throws `bad_input` when shapes do not fit. */
export function checkQuantize(args: QuantizeArgs): void {
  const { src, dst, stochastic, foldScale, dstRow } = args;
  const { row, tensor } = dstRowOf(args);
  const fits =
    batchCount(src) === dst.batch &&
    src.rows > 0 &&
    (dstRow === undefined ? src.rows === dst.rows : row + src.rows <= dst.rows) &&
    [tensor, stochastic?.scalars].every((word) => !word || word.size > 0) &&
    Number.isSafeInteger(row) &&
    row >= 0 &&
    src.cols === dst.cols &&
    !(dst.narrow && (args.nb !== 7 || dstRow !== undefined)) &&
    viewEnd(src) <= src.tensor.size &&
    (!foldScale || (foldScale.rows >= src.cols && foldScale.batch === dst.batch));
  if (!fits) throw new AtollError('bad_input', 'quantize: the shapes do not fit.');
}
