/** Samples of the reference follow the distribution that the logits stand for: chi-square with fixed seeds. */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../../device/cpu.ts';
import { lowbias32 } from '../math/cpu.ts';
import { exponential } from './cpu.ts';

const logits = [0.3, -1.2, 2.1, 0.3, -4, 1.4, 0, -0.5, 2.1, -2.2].map(Math.fround);
const rows = 20_000;

async function counts(temperature: number, topK: number | undefined, seed: number): Promise<number[]> {
  const device = createCpuDevice();
  const V = logits.length;
  const [given, word, scalars, dst] = [rows * V, 1, 1, rows].map((size) => device.tensor(size)) as [
    ReturnType<typeof device.tensor>,
    ReturnType<typeof device.tensor>,
    ReturnType<typeof device.tensor>,
    ReturnType<typeof device.tensor>,
  ];
  device.write(
    given,
    Float32Array.from({ length: rows * V }, (_, i) => logits[i % V] as number),
  );
  device.write(word, Float32Array.of(temperature));
  device.write(scalars, Uint32Array.of(seed));
  const args = { logits: given, rows, V, temperature: word, scalars, site: 3, dst };
  await device.run(device.record((ops) => ops.sample({ ...args, ...(topK === undefined ? {} : { topK }) })));
  const tokens = new Uint32Array((await device.read(dst)).buffer);
  const found = Array.from({ length: V }, () => 0);
  for (const token of tokens) found[token] = (found[token] as number) + 1;
  return found;
}

/** Sum of (found - expected)^2 / expected; what cannot be drawn must not have been. */
function chiSquare(found: readonly number[], temperature: number, topK: number): number {
  const least = logits.toSorted((a, b) => b - a)[topK - 1] as number;
  const weights = logits.map((l) => (l >= least ? Math.exp(l / temperature) : 0));
  const total = weights.reduce((a, b) => a + b);
  return found.reduce((sum, n, i) => {
    const expected = (rows * (weights[i] as number)) / total;
    if (expected === 0) return n === 0 ? sum : Number.POSITIVE_INFINITY;
    return sum + (n - expected) ** 2 / expected;
  }, 0);
}

describe('sample', () => {
  // 27.9 is passed by chance once in a thousand with nine degrees of freedom.
  it.each([0.6, 1, 3])('follows softmax at temperature %f', async (temperature) => {
    for (const seed of [1, 2, 3]) {
      expect(chiSquare(await counts(temperature, undefined, seed), temperature, 10)).toBeLessThan(27.9);
    }
  });

  it.each([1, 2, 4, 5])('draws among the first %i and their equals only', async (topK) => {
    for (const seed of [4, 5]) {
      expect(chiSquare(await counts(1, topK, seed), 1, topK)).toBeLessThan(27.9);
    }
  });

  it('takes the first of the largest without a temperature', async () => {
    const found = await counts(0, undefined, 6);
    expect(found[2]).toBe(rows);
  });

  it('spaces the small exponentials finely, and joins them to the others without a step', () => {
    const draws = Array.from({ length: 40_000 }, (_, i) => exponential(lowbias32(i)));
    const mean = draws.reduce((a, b) => a + b) / draws.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.02);
    for (const random of [0, 1, 1000, 2 ** 22 - 1, 2 ** 22, 2 ** 22 + 512, 2 ** 31, 2 ** 32 - 1]) {
      const w = random < 2 ** 22 ? (2 * random + 1) / 2 ** 33 : (2 * (random >>> 9) + 1) / 2 ** 24;
      const exact = -Math.log1p(-w);
      expect(Math.abs(exponential(random) / exact - 1)).toBeLessThan(2 ** -21);
    }
  });
});
