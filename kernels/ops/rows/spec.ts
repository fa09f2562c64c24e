/**
 * int8 rows on the device: weight deltas and Adam's moments as one byte a value and one exponent byte a row, as they travel (model/rows.ts).
 *
 * encodeRows: x = src; or clamp(src - minus); or clamp(sqrt(src)). Rows of x go through QUANT (nb = 7, RNE); codes are its integers, exponents its E.
 * decodeRows: v = FL(code * 2^(E - 7)), exact; with `halfStep` a code of 0 counts as 1/2; with `square` v = v * v; with `addTo` dst = clamp(addTo + v).
 *
 * Bytes are packed four to a word, first byte lowest, through the whole tensor: element i is byte i % 4 of word i / 4, wherever rows end. What is left of the
 * last word is 0. A byte is the low eight bits of its integer.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface EncodeRowsArgs {
  /** [rows][cols]. */
  src: Tensor;
  /** Same layout; not together with `sqrt`. */
  minus?: Tensor;
  /** Of values >= 0. */
  sqrt?: boolean;
  /** [rows][cols] bytes. */
  codes: Tensor;
  /** [rows] bytes. */
  exponents: Tensor;
  rows: number;
  cols: number;
}

export interface DecodeRowsArgs {
  /** Bytes; every exponent at most 41, as an encoder of PF32 values within +-2^41 writes them. */
  codes: Tensor;
  exponents: Tensor;
  /** [rows][cols]. */
  dst: Tensor;
  rows: number;
  cols: number;
  /** For roots of second moments, whose zeros would let Adam divide by nothing (decision 0004). */
  halfStep?: boolean;
  square?: boolean;
  /** Same layout as dst; may be dst itself. */
  addTo?: Tensor;
}

/** Words that `bytes` bytes take. */
export function packedWords(bytes: number): number {
  return Math.ceil(bytes / 4);
}

/** Throws `bad_input` when the shapes do not fit. */
export function checkEncodeRows({ src, minus, sqrt, codes, exponents, rows, cols }: EncodeRowsArgs): void {
  checkSizes('encodeRows', { rows, cols });
  const size = rows * cols;
  checkTensors('encodeRows', {
    src: [src, size],
    minus: [minus, size],
    codes: [codes, packedWords(size)],
    exponents: [exponents, packedWords(rows)],
  });
  if (minus && sqrt) throw new AtollError('bad_input', 'encodeRows: minus or sqrt, not both.');
  if (codes === exponents || [codes, exponents].some((out) => out === src || out === minus)) {
    throw new AtollError('bad_input', 'encodeRows: an output cannot be an input too.');
  }
}

/** Throws `bad_input` when the shapes do not fit. */
export function checkDecodeRows({ codes, exponents, dst, addTo, rows, cols }: DecodeRowsArgs): void {
  checkSizes('decodeRows', { rows, cols });
  const size = rows * cols;
  checkTensors('decodeRows', {
    codes: [codes, packedWords(size)],
    exponents: [exponents, packedWords(rows)],
    dst: [dst, size],
    addTo: [addTo, size],
  });
  if (dst === codes || dst === exponents) {
    throw new AtollError('bad_input', 'decodeRows: an output cannot be an input too.');
  }
}
