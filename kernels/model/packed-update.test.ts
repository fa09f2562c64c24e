/** The packed form: exact both ways, much smaller on rows like those of training, and nothing but an error on bytes that are not ours. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import { lowbias32 } from '../ops/math/cpu.ts';
import type { Update } from './checkpoint.ts';
import { parameterLayout } from './layout.ts';
import { packUpdate, type PackingBase, unpackUpdate } from './packed-update.ts';
import { elementCount, type Rows, rowCount } from './rows.ts';

const model = { L: 1, C: 8, NH: 2, T: 4, V: 64 };
const layout = parameterLayout(model);

function rows(code: (i: number) => number, exponent: (r: number) => number): Rows {
  return {
    codes: Int8Array.from({ length: elementCount(layout) }, (_, i) => code(i)),
    exponents: Int8Array.from({ length: rowCount(layout) }, (_, r) => exponent(r)),
  };
}

/** A sum of four uniform numbers in [-1, 1]: about normal. */
function bell(seed: number): number {
  let sum = 0;
  for (let i = 0; i < 4; i++) sum += lowbias32(4 * seed + i) / 2 ** 31 - 1;
  return sum / 2;
}

/** As training leaves them: roots that shrank a little, moments of their size, deltas that follow both. */
function trained(): { base: PackingBase; update: Update } {
  const root = (i: number) => Math.max(1, Math.round(60 + 30 * bell(i)));
  const moment = (i: number) => Math.round((root(i) * bell(i + 77_777)) / 3);
  const base = {
    model,
    m: rows(
      () => 5,
      () => -3,
    ),
    s: rows(root, () => -4),
  };
  const update = {
    model,
    s: rows(
      (i) => Math.round(0.95 * root(i)),
      () => -4,
    ),
    m: rows(moment, () => -4),
    delta: rows(
      (i) => Math.round((-90 * moment(i)) / root(i)),
      () => -8,
    ),
  };
  return { base, update };
}

describe('a packed update', () => {
  it('is unpacked to the very rows, from two thirds of the bytes or fewer', () => {
    const { base, update } = trained();
    const bytes = packUpdate(base, update);
    expect(unpackUpdate(base, bytes)).toEqual(update);
    expect(bytes.length).toBeLessThan(2 * elementCount(layout));
  });

  it('is exact for any rows at all', () => {
    const some = fc.integer({ min: 0, max: 1 << 30 }).map((seed) =>
      rows(
        (i) => (lowbias32(seed + i) % 255) - 127,
        (r) => (lowbias32(seed - r) % 140) - 99,
      ),
    );
    fc.assert(
      fc.property(some, some, some, some, some, (m, s, m2, s2, delta) => {
        const update = { model, delta, m: m2, s: s2 };
        expect(unpackUpdate({ model, m, s }, packUpdate({ model, m, s }, update))).toEqual(update);
      }),
      { numRuns: 20 },
    );
  });

  it('says no to bytes that are cut, go on, or were made up', () => {
    const { base, update } = trained();
    const bytes = packUpdate(base, update);
    expect(() => unpackUpdate(base, bytes.subarray(0, bytes.length - 8))).toThrow('end too early');
    expect(() => unpackUpdate(base, Uint8Array.from([...bytes, 0]))).toThrow('go on too long');
    expect(() => unpackUpdate(base, new Uint8Array(3))).toThrow(AtollError);
    const noise = Uint8Array.from({ length: 4 * bytes.length }, (_, i) => lowbias32(i));
    expect(() => unpackUpdate(base, noise)).toThrow(AtollError);
  });

  it('comes to something else on another checkpoint, never to a crash', () => {
    const { base, update } = trained();
    const other = { ...base, s: { ...base.s, codes: base.s.codes.map((code) => -code) } };
    let outcome: unknown = null;
    try {
      outcome = unpackUpdate(other, packUpdate(base, update));
    } catch (error) {
      expect(error).toBeInstanceOf(AtollError);
    }
    expect(outcome).not.toEqual(update);
  });
});
