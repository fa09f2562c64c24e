/** Reference of QUANT: integers only, row by row. */
import type { View } from '../../tensor/tensor.ts';
import { fromBits, lowbias32, mul, tinyBits, toBits } from '../math/cpu.ts';
import { type Bits, qmaxOf, zeroExponent } from './spec.ts';

export interface CpuQuantized {
  batch: number;
  rows: number;
  cols: number;
  transposed: boolean;
  /** Integers, held as doubles because the product sums them as doubles. */
  mantissas: Float64Array;
  exponents: Int32Array;
}

/** Seed of one stochastic site in one step. */
export function siteSeed(stepSeed: number, site: number): number {
  return lowbias32((stepSeed ^ Math.imul(site, 0x85ebca6b)) >>> 0);
}

/** Mantissa (24 bits) and shift -> RNE integer. */
export function roundNearestEven(mantissa: number, shift: number): number {
  const s = shift > 25 ? 25 : shift;
  const q = mantissa >>> s;
  const r = mantissa & ((1 << s) - 1);
  const half = 1 << (s - 1);
  return r > half || (r === half && (q & 1) === 1) ? q + 1 : q;
}

/** The same, rounded up with the probability of the dropped fraction. */
export function roundStochastic(mantissa: number, shift: number, random: number): number {
  let m = mantissa;
  let s = shift;
  if (s > 31) {
    m >>>= Math.min(s - 31, 31);
    s = 31;
  }
  const mask = s === 31 ? 0x7fffffff : (1 << s) - 1;
  return (m + (random & mask)) >>> s;
}

/**
 * Quantises every row of `view` over `words` (the bits of the tensor's f32).
 * `seed` is the site's seed for stochastic rounding, null for RNE. `fold` and `dstRow` as in the spec.
 */
export function quantize(
  words: Uint32Array,
  view: View,
  dst: CpuQuantized,
  nb: Bits,
  seed: number | null,
  fold: CpuQuantized | null,
  dstRow = 0,
): void {
  const [n0, s0, n1, s1] = view.batch;
  const { cols } = view;
  const rows = Math.min(view.rows, dst.rows - dstRow);
  const row = new Uint32Array(cols);
  for (let i0 = 0; i0 < n0; i0++) {
    for (let i1 = 0; i1 < n1; i1++) {
      const batch = i0 * n1 + i1;
      for (let r = 0; r < rows; r++) {
        const base = view.offset + i0 * s0 + i1 * s1 + r * view.rowStride;
        for (let c = 0; c < cols; c++) row[c] = words[base + c * view.colStride] as number;
        if (fold) foldInto(row, fold, batch, nb);
        const to = dstRow + r;
        const out = dst.transposed ? batch * dst.rows * cols + to : (batch * dst.rows + to) * cols;
        const exponent = quantizeRow(
          row,
          base,
          view.colStride,
          nb,
          seed,
          dst.mantissas,
          out,
          dst.transposed ? dst.rows : 1,
        );
        dst.exponents[batch * dst.rows + to] = exponent;
      }
    }
  }
}

function foldInto(row: Uint32Array, fold: CpuQuantized, batch: number, nb: Bits): void {
  for (let c = 0; c < row.length; c++) {
    const scale = (fold.exponents[batch * fold.rows + c] as number) - nb;
    row[c] = toBits(mul(fromBits(row[c] as number), fromBits((scale + 127) << 23)));
  }
}

/** One row of bits -> mantissas at out, out + stride, ...; returns the row's exponent. */
function quantizeRow(
  row: Uint32Array,
  firstIndex: number,
  indexStride: number,
  nb: Bits,
  seed: number | null,
  mantissas: Float64Array,
  out: number,
  stride: number,
): number {
  const n = row.length;
  let amax = 0;
  for (let c = 0; c < n; c++) {
    const a = (row[c] as number) & 0x7fffffff;
    if (a > amax) amax = a;
  }
  if (amax < tinyBits) {
    for (let c = 0; c < n; c++) mantissas[out + c * stride] = 0;
    return zeroExponent;
  }
  const qmax = qmaxOf[nb];
  const shiftBase = 24 - nb + (amax >>> 23);
  for (let c = 0; c < n; c++) {
    const word = row[c] as number;
    const a = word & 0x7fffffff;
    let q = 0;
    if (a >= tinyBits) {
      const mantissa = (a & 0x7fffff) | 0x800000;
      const shift = shiftBase - (a >>> 23);
      q =
        seed === null
          ? roundNearestEven(mantissa, shift)
          : roundStochastic(
              mantissa,
              shift,
              lowbias32((seed + Math.imul(firstIndex + c * indexStride, 0x9e3779b9)) | 0),
            );
      if (q > qmax) q = qmax;
    }
    mantissas[out + c * stride] = word >>> 31 ? -q : q;
  }
  return (amax >>> 23) - 126;
}
