/** Every function of the table in NUMERICS.md against f64, over dense grids: the stated maximum error must hold (with decision 0006's corrections). */
import { describe, expect, it } from 'vitest';
import * as m from './cpu.ts';

/** Error of an f32 `got` against the f64 `want`, in units of want's last f32 place. */
function ulps(got: number, want: number): number {
  if (Math.abs(want) < m.tiny) return got === 0 ? 0 : Number.POSITIVE_INFINITY;
  const ulp = 2 ** (Math.floor(Math.log2(Math.abs(want))) - 23);
  return Math.abs(got - want) / ulp;
}

function worst(f: (x: number) => number, g: (x: number) => number, xs: Iterable<number>): number {
  let max = 0;
  for (const x of xs) max = Math.max(max, ulps(f(x), g(x)));
  return max;
}

function* linear(from: number, to: number, count: number): Generator<number> {
  for (let i = 0; i <= count; i++) yield m.constant(from + ((to - from) * i) / count);
}

/** f32 patterns spread over the whole range of exponents. */
function* patterns(fromBits: number, toBits: number, count: number): Generator<number> {
  const stride = Math.max(1, Math.floor((toBits - fromBits) / count));
  for (let u = fromBits; u <= toBits; u += stride) yield m.fromBits(u);
}

/** erf in f64: series below 2, continued fraction above. */
function erf64(x: number): number {
  const a = Math.abs(x);
  if (a < 2) {
    let term = a;
    let sum = a;
    for (let n = 1; n < 60; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 80; n >= 1; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

const count = 400_000;
const table: [string, (x: number) => number, (x: number) => number, () => Iterable<number>, number][] = [
  ['exp', m.exp, Math.exp, () => linear(-68, 68, count), 1.33],
  ['exp2', m.exp2, (x) => 2 ** x, () => linear(-99, 99, count), 1.23],
  ['recip', m.recip, (x) => 1 / x, () => patterns(0x3f800000, 0x407fffff, count), 1.14],
  ['rsqrt', m.rsqrt, (x) => 1 / Math.sqrt(x), () => patterns(0x3f800000, 0x40ffffff, count), 1.22],
  ['sqrt', m.sqrt, Math.sqrt, () => patterns(0x3f800000, 0x40ffffff, count), 1.91],
  ['ln', m.ln, Math.log, () => patterns(m.tinyBits, 0x717fffff, count), 0.82],
  ['sigmoid', m.sigmoid, (x) => 1 / (1 + Math.exp(-x)), () => linear(-60, 60, count), 2.7],
  ['silu', m.silu, (x) => x / (1 + Math.exp(-x)), () => linear(-60, 60, count), 3.2],
  ['tanh', m.tanh, Math.tanh, () => linear(-20, 20, count), 1.65],
  ['erf', m.erf, erf64, () => linear(-6, 6, count), 2.5],
];

describe('functions', () => {
  it.each(table)('%s', (_, f, g, xs, bound) => {
    expect(worst(f, g, xs())).toBeLessThanOrEqual(bound);
  });

  it('stays exact over the whole exponent range for recip and rsqrt', () => {
    expect(worst(m.recip, (x) => 1 / x, patterns(0x0e800000, 0x71000000, 50_000))).toBeLessThanOrEqual(1.14);
    expect(
      worst(m.rsqrt, (x) => 1 / Math.sqrt(x), patterns(m.tinyBits, 0x71000000, 50_000)),
    ).toBeLessThanOrEqual(1.22);
  });

  it('flushes, and never gives -0', () => {
    expect(Object.is(m.mul(-1e-20, 1e-20), 0)).toBe(true);
    expect(Object.is(m.add(-0, 0), 0)).toBe(true);
    expect(m.fl(m.tiny)).toBe(m.tiny);
    expect(m.fl(m.fromBits(m.tinyBits - 1))).toBe(0);
    expect(m.sqrt(0)).toBe(0);
  });
});
