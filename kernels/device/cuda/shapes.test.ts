/**
 * CUDA kernels at shapes that the conformance vectors do not reach, against the reference: rows of logits that shared memory holds in part or not at all,
 * more slots than spans of the least size, sums of more than 4096 partials, rows of columns that no vector access fits.
 */
import { describe, expect, it } from 'vitest';
import { Bench, type Plan } from '../../vectors/case.ts';
import { Random } from '../../vectors/inputs.ts';
import { createCpuDevice } from '../cpu.ts';
import type { Device } from '../device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { createEmulatedCudaDevice, haveCompiler } from './testing/emulated-device.ts';

type Make = (bench: Bench) => Plan & { out: readonly Tensor[] };

async function wordsOn(device: Device, id: string, make: Make): Promise<Uint32Array[]> {
  const { record, out } = make(new Bench(device, Random.of(id)));
  await device.run(device.record(record));
  const words: Uint32Array[] = [];
  for (const tensor of out) words.push(new Uint32Array((await device.read(tensor)).buffer));
  device.destroy();
  return words;
}

async function expectSame(id: string, make: Make, sharedMax = 101_376): Promise<void> {
  const info = { sharedMax };
  const given = await wordsOn(createEmulatedCudaDevice({ seed: 3, info }), id, make);
  const wanted = await wordsOn(createCpuDevice(), id, make);
  const differs = wanted.map((words, i) => words.findIndex((word, j) => word !== given[i]?.[j]));
  expect(differs).toEqual(wanted.map(() => -1));
}

const crossEntropy =
  (rows: number, V: number, gradientScale?: number): Make =>
  (bench) => {
    // Small enough that every 4096-block counts in the sum.
    const logits = bench.values(rows * V, -4, 1);
    const goals = bench.random.indices(rows, V);
    goals[0] = 0xffffffff;
    const [targets, losses] = [bench.from(goals), bench.zeros(rows)];
    const extra = gradientScale === undefined ? {} : { gradientScale };
    return {
      record: (ops) => ops.crossEntropy({ logits, targets, losses, rows, V, ...extra }),
      out: [losses, logits],
    };
  };

const route =
  (M: number, E: number, k: number): Make =>
  (bench) => {
    const slots = M * k;
    const logits = bench.values(M * E, -4, 3);
    const [ids, gates, order, places] = [slots, slots, slots, slots].map((size) => bench.zeros(size)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const [offsets, dgates, dlogits] = [bench.zeros(E + 1), bench.values(slots), bench.values(M * E)];
    return {
      record: (ops) => {
        ops.route({ logits, M, E, k, ids, gates, order, places, offsets });
        ops.routeGrad({ ids, gates, dgates, dlogits, M, E, k });
      },
      out: [ids, gates, order, places, offsets, dlogits],
    };
  };

const rowsThere =
  (M: number, k: number, cols: number): Make =>
  (bench) => {
    const slots = M * k;
    const shuffled = Uint32Array.from({ length: slots }, (_, i) => (i * 7 + 3) % slots);
    const inverse = new Uint32Array(slots);
    shuffled.forEach((slot, place) => (inverse[slot] = place));
    const [src, order, places] = [bench.values(M * cols), bench.from(shuffled), bench.from(inverse)];
    const [gates, rows, y] = [bench.values(slots), bench.zeros(slots * cols), bench.zeros(M * cols)];
    const [sum, drows, dgates] = [bench.values(M * cols), bench.zeros(slots * cols), bench.zeros(slots)];
    return {
      record: (ops) => {
        ops.gatherRows({ src, order, dst: rows, M, k, cols });
        ops.combine({ rows, places, gates, y, M, k, cols });
        ops.combine({ rows, places, residual: sum, y: sum, M, k, cols });
        ops.combineGrad({ dy: y, rows, places, gates, drows, dgates, M, k, cols });
      },
      out: [rows, y, sum, drows, dgates],
    };
  };

const clip =
  (count: number): Make =>
  (bench) => {
    const src = bench.from(bench.random.positives(count, -4, 3));
    const [dst, scale] = [bench.zeros(2), bench.zeros(1)];
    return {
      record: (ops) => {
        ops.sumSquares({ src, count, dst, at: 1 });
        ops.clipScale({ partials: src, count, max: 1, dst: scale });
      },
      out: [dst, scale],
    };
  };

describe.skipIf(!haveCompiler())('CUDA kernels at other shapes', () => {
  it.each([101_376, 49_152, 16_384, 2048])(
    'cross-entropy with %i bytes of shared memory',
    async (sharedMax) => {
      for (const [rows, V] of [
        [9, 100],
        [7, 5000],
        [2, 50_257],
        [1, 300_001],
      ] as const) {
        await expectSame(`cross-entropy ${rows}x${V}`, crossEntropy(rows, V, 0.125), sharedMax);
      }
    },
  );

  it('cross-entropy without a gradient leaves the logits', () => expectSame('losses', crossEntropy(3, 9000)));

  it.each([
    [20_000, 8, 2],
    [33_000, 3, 1],
    [300, 512, 60],
  ])('route of %i tokens, %i experts, %i each', (M, E, k) => expectSame(`route ${M}`, route(M, E, k)));

  it.each([
    [1, 1, 9000],
    [5, 2, 4],
    [11, 3, 768],
    [3, 2, 4097],
    [4, 2, 5001],
  ])('rows of %i tokens, %i each, %i columns', (M, k, cols) =>
    expectSame(`rows ${cols}`, rowsThere(M, k, cols)),
  );

  it('the norm over more than 4096 partials', () => expectSame('clip', clip(20_000)));
});
