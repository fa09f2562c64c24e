/** ROUND against its integer definition in NUMERICS.md, and GEMM against BigInt sums. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matrix } from '../../tensor/tensor.ts';
import { fromBits, toBits } from '../math/cpu.ts';
import type { CpuQuantized } from '../quantize/cpu.ts';
import { qmaxOf } from '../quantize/spec.ts';
import { gemm, round } from './cpu.ts';

/** ROUND(hi, lo16, E) and PACK, word for word as NUMERICS.md has them, then the clamp to 2^40. */
function roundBits(sum: bigint, E: number): number {
  let hi = Number(sum >> 16n);
  let lo = Number(sum & 0xffffn);
  const sign = hi < 0 ? 0x80000000 : 0;
  if (hi < 0) {
    const nonzero = lo !== 0 ? 1 : 0;
    lo = (65536 - lo) & 0xffff;
    hi = -hi - nonzero;
  }
  const n = 32 - Math.clz32(hi);
  let q: number;
  let s = 0;
  if (n <= 8) q = (hi << 16) | lo;
  else {
    s = n - 8;
    let r: number;
    if (s <= 16) {
      q = (hi << (16 - s)) | (lo >>> s);
      r = lo & ((1 << s) - 1);
    } else {
      q = hi >>> (s - 16);
      r = ((hi & ((1 << (s - 16)) - 1)) << 16) | lo;
    }
    const half = 1 << (s - 1);
    if (r > half || (r === half && (q & 1) === 1)) q++;
  }
  if (q === 0) return 0;
  const L = Math.clz32(q) - 8;
  const mantissa = L >= 0 ? q << L : q >>> 1;
  const e = 150 + s + E - L;
  if (e < 27) return 0;
  const bits = e > 226 ? 0x717fffff : (e << 23) | (mantissa & 0x7fffff);
  const size = Math.min(fromBits(bits >>> 0), 2 ** 40);
  return (toBits(size) | sign) >>> 0;
}

const plain = { bias: null, activation: null, preactivation: null, activationGrad: null, residual: null };

describe('round', () => {
  it('equals the integer definition for any sum and exponent', () => {
    const sums = fc.oneof(
      fc.bigInt({ min: -(2n ** 47n) + 1n, max: 2n ** 47n - 1n }),
      fc.bigInt({ min: -300n, max: 300n }),
      // Ties and their neighbours: an odd or even 24-bit head, then 1000...0 plus -1, 0, 1.
      fc
        .tuple(
          fc.bigInt({ min: 2n ** 23n, max: 2n ** 24n - 1n }),
          fc.integer({ min: 1, max: 22 }),
          fc.integer({ min: -1, max: 1 }),
          fc.boolean(),
        )
        .map(([head, shift, off, negative]) => {
          const size = (head << BigInt(shift)) + (1n << BigInt(shift - 1)) + BigInt(off);
          return negative ? -size : size;
        }),
    );
    fc.assert(
      fc.property(sums, fc.integer({ min: -240, max: 60 }), (sum, E) => {
        expect(toBits(round(Number(sum), E))).toBe(roundBits(sum, E));
      }),
      { numRuns: 50_000 },
    );
  });

  it('keeps to both sides of 2^-100 and of 2^40', () => {
    expect(round(1, -100)).toBe(2 ** -100);
    expect(round(1, -101)).toBe(0);
    // Just below 2^-100 rounds up to it: rounding comes before flushing.
    expect(round(2 ** 25 - 1, -125)).toBe(2 ** -100);
    expect(round(2 ** 24 - 1, -124)).toBe(0);
    expect(round(1, 40)).toBe(2 ** 40);
    expect(round(-3, 40)).toBe(-(2 ** 40));
  });
});

function operand(rows: number, cols: number, next: () => number, exponent: () => number): CpuQuantized {
  return {
    batch: 1,
    rows,
    cols,
    transposed: false,
    mantissas: Float64Array.from({ length: rows * cols }, next),
    exponents: Int32Array.from({ length: rows }, exponent),
  };
}

describe('gemm', () => {
  it('gives the rounded exact sum for any shape and precision', () => {
    const shapes = fc.record({
      M: fc.integer({ min: 1, max: 9 }),
      N: fc.integer({ min: 1, max: 9 }),
      K: fc.constantFrom(1, 2, 15, 16, 17, 33, 257),
      nb: fc.constantFrom(7, 10, 15),
      seed: fc.integer(),
      causal: fc.boolean(),
    });
    fc.assert(
      fc.property(shapes, ({ M, N, K, nb, seed, causal }) => {
        const bits = nb as 7 | 10 | 15;
        let state = seed;
        const random = () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 8;
        const mantissa = () => (random() % (2 * qmaxOf[bits] + 1)) - qmaxOf[bits];
        const exponent = () => (random() % 40) - 20;
        const a = operand(M, K, mantissa, exponent);
        const b = operand(N, K, mantissa, exponent);
        const dst = new Float32Array(M * N);
        const view = matrix({ size: M * N }, M, N);
        gemm(a, b, dst, view, { ...plain, nb: bits, reach: causal ? 1 : 0, K });
        for (let m = 0; m < M; m++) {
          for (let n = 0; n < N; n++) {
            let sum = 0n;
            for (let k = 0; k < K; k++) {
              sum += BigInt(a.mantissas[m * K + k] as number) * BigInt(b.mantissas[n * K + k] as number);
            }
            const E = (a.exponents[m] as number) + (b.exponents[n] as number) - 2 * bits;
            const expected = causal && n > m ? 0 : roundBits(sum, E);
            expect(toBits(dst[m * N + n] as number)).toBe(expected);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
