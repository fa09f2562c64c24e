/** QUANT: error bounds, ties, the zero row, stochastic rounding without bias, and independence of the direction of reading. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matrix, transpose } from '../../tensor/tensor.ts';
import { fl, fromBits, lowbias32 } from '../math/cpu.ts';
import { type CpuQuantized, quantize, roundNearestEven, siteSeed } from './cpu.ts';
import { type Bits, qmaxOf, zeroExponent } from './spec.ts';

function target(rows: number, cols: number): CpuQuantized {
  return {
    batch: 1,
    rows,
    cols,
    transposed: false,
    mantissas: new Float64Array(rows * cols),
    exponents: new Int32Array(rows),
  };
}

function run(values: readonly number[], nb: Bits, seed: number | null = null): CpuQuantized {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  const dst = target(1, values.length);
  quantize(words, matrix({ size: values.length }, 1, values.length), dst, nb, seed, null);
  return dst;
}

const usable = fc
  .tuple(
    fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 40), max: 2 ** 40 }),
    fc.integer({ min: -20, max: 0 }),
  )
  .map(([x, e]) => fl(Math.fround(x * 2 ** e)));

describe('quantize', () => {
  it.each([7, 10, 15] as const)('RNE to %i bits is within half a step, or at the cap', (nb) => {
    fc.assert(
      fc.property(fc.array(usable, { minLength: 1, maxLength: 40 }), (values) => {
        const { mantissas, exponents } = run(values, nb);
        const step = 2 ** ((exponents[0] as number) - nb);
        values.forEach((value, i) => {
          const q = mantissas[i] as number;
          expect(Math.abs(q)).toBeLessThanOrEqual(qmaxOf[nb]);
          if (Math.abs(q) < qmaxOf[nb]) expect(Math.abs(value - q * step)).toBeLessThanOrEqual(step / 2);
        });
      }),
    );
  });

  it('rounds ties to even and caps at qmax', () => {
    // amax 1.0 has exponent 1, so a step is 2^-6 at 7 bits.
    expect([...run([1, 2.5 * 2 ** -6, 3.5 * 2 ** -6, -0.5 * 2 ** -6], 7).mantissas]).toEqual([64, 2, 4, -0]);
    expect(run([1.999], 7).mantissas[0]).toBe(127);
    expect(roundNearestEven(0x800001, 25)).toBe(0);
    expect(roundNearestEven(0xffffff, 24)).toBe(1);
  });

  it('makes a whole row zero when nothing in it reaches 2^-100', () => {
    const words = Uint32Array.of(0x0d7fffff, 0x00000001, 0x8d7fffff);
    const dst = target(1, 3);
    quantize(words, matrix({ size: 3 }, 1, 3), dst, 10, null, null);
    expect([...dst.mantissas]).toEqual([0, 0, 0]);
    expect(dst.exponents[0]).toBe(zeroExponent);
    expect(run([fromBits(0x0d800000)], 10).exponents[0]).toBe(-99);
  });

  it('rounds stochastically without bias and by the seed alone', () => {
    const values = [1, ...Array.from({ length: 20_000 }, () => 0.3 * 2 ** -6)];
    const { mantissas } = run(values, 7, siteSeed(5, 9));
    const mean = mantissas.slice(1).reduce((sum, q) => sum + q, 0) / (values.length - 1);
    expect(Math.abs(mean - 0.3)).toBeLessThan(0.015);
    expect(run(values, 7, siteSeed(5, 9)).mantissas).toEqual(mantissas);
    expect(run(values, 7, siteSeed(5, 10)).mantissas).not.toEqual(mantissas);
  });

  it('gives an element the same random number whether it is read by rows or by columns', () => {
    const [rows, cols] = [5, 7];
    // Every row and column holds a 1, so all share one exponent and only the random numbers could differ.
    const values = Float32Array.from({ length: rows * cols }, (_, i) => (lowbias32(i) % 1000) / 1000);
    for (let i = 0; i < Math.max(rows, cols); i++) values[(i % rows) * cols + (i % cols)] = 1;
    const words = new Uint32Array(values.buffer);
    const view = matrix({ size: rows * cols }, rows, cols);
    const byRow = target(rows, cols);
    const byColumn = target(cols, rows);
    quantize(words, view, byRow, 10, 123, null);
    quantize(words, transpose(view), byColumn, 10, 123, null);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) {
        expect(byColumn.mantissas[c * rows + r]).toBe(byRow.mantissas[r * cols + c]);
      }
    }
  });
});
