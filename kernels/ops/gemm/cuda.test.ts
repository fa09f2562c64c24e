/**
 * Products on CUDA: random operands and options on the emulated device against the reference, then every tile and cut of the contraction; and the choice
 * among them, which is pure. A failure prints the plan and the seed that replays it.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CudaDevice } from '../../device/cuda/device.ts';
import type { LaunchContext } from '../../device/cuda/launch.ts';
import { createEmulatedCudaDevice, haveCompiler } from '../../device/cuda/testing/emulated-device.ts';
import type { Device, Ops } from '../../device/device.ts';
import { createCpuDevice } from '../../device/cpu.ts';
import { buildProduct, productPlans } from '../../device/testing/fuzz.ts';
import { expectSame, values } from '../../device/testing/match.ts';
import { matrix } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';
import { gemmLaunchesOf } from './cuda.ts';
import {
  chooseTile,
  cudaSpans,
  type CudaTile,
  cudaTiles,
  cut,
  sharedBytes,
  threadsOf,
} from './cuda-tiles.ts';
import type { GemmArgs } from './spec.ts';

const widths: readonly Bits[] = [7, 10, 15];
const everyTile = widths.flatMap((nb) => cudaTiles[nb].map((tile) => ({ nb, tile })));
const name = ({ BM, BN, flush }: CudaTile) => `${BM}x${BN}${flush ? ', any length' : ''}`;

interface Case {
  device: Device;
  a: Float32Array;
  b: Float32Array;
  M: number;
  N: number;
  nb: Bits;
  more: boolean;
  /** How the product is recorded; by the op itself where absent. */
  multiply?: (args: GemmArgs) => Parameters<CudaDevice['recordLaunches']>[0];
}

/** dst of one product, as bits: of plain operands, or with everything that an epilogue can do. */
async function product({ device, a, b, M, N, nb, more, multiply }: Case): Promise<Uint32Array> {
  const K = a.length / M;
  const tensor = (words: Float32Array) => {
    const made = device.tensor(words.length);
    device.write(made, words);
    return made;
  };
  const [left, right] = [device.quantized(1, M, K), device.quantized(1, N, K)];
  const [sourceA, sourceB] = [tensor(a), tensor(b)];
  const dst = tensor(values('normal', M * N, 1));
  const args: GemmArgs = { a: left, b: right, dst: matrix(dst, M, N), nb };
  const [bias, kept] = [tensor(values('normal', N, 2)), device.tensor(M * N)];
  if (more)
    Object.assign(args, {
      ...{ bias, activation: 'gelu', preactivation: kept, residual: dst, length: K - 5 },
      causal: { offset: 70 },
    });
  const quantise = (ops: Ops) => {
    ops.quantize({ src: matrix(sourceA, M, K), dst: left, nb });
    ops.quantize({ src: matrix(sourceB, N, K), dst: right, nb });
  };
  await device.run(device.record(quantise));
  const recording = multiply
    ? (device as CudaDevice).recordLaunches(multiply(args))
    : device.record((ops) => ops.gemm(args));
  await device.run(recording);
  return new Uint32Array(Float32Array.of(...(await device.read(dst)), ...(await device.read(kept))).buffer);
}

/** A context whose scratch is looked at afterwards: it must be as it was, zero. */
function contextOf(device: CudaDevice) {
  const scratches = new Map<string, ReturnType<LaunchContext['scratch']>>();
  const { multiprocessors, capability, sharedMax } = device.driver;
  const scratch = (key: string, words: number) => {
    const made = scratches.get(key) ?? device.tensor(words);
    scratches.set(key, made);
    return made;
  };
  return { scratches, context: { scratch, multiprocessors, capability, sharedMax } };
}

/** How many words differ. */
const differences = (got: Uint32Array, want: Uint32Array) =>
  got.length === want.length ? got.filter((word, i) => word !== want[i]).length : Infinity;

describe.skipIf(!haveCompiler())('products on the emulated device', () => {
  let device: CudaDevice;
  beforeAll(() => {
    device = createEmulatedCudaDevice({ seed: 3 });
  });
  afterAll(() => device.destroy());

  it('are the reference, whatever the operands and options', async () => {
    const same = fc.asyncProperty(productPlans, (plan) => expectSame(device, (b) => buildProduct(b, plan)));
    await fc.assert(same, { numRuns: Number(process.env['FUZZ_RUNS'] ?? 40) });
  }, 180_000);

  it.each(everyTile.map(({ nb, tile }) => [nb, name(tile), tile] as const))(
    'of %i bits by tiles of %s, whole and in parts',
    async (nb, _, tile) => {
      const [M, N, K] = [150, 270, 201];
      const scope = device.scope();
      const [a, b] = [values('normal', M * K, 5), values('wide', N * K, 6)];
      const shape = { M, N, nb, a, b, more: true };
      const want = await product({ ...shape, device: createCpuDevice() });
      for (const parts of [1, 3]) {
        const { scratches, context } = contextOf(scope);
        const multiply = (args: GemmArgs) => gemmLaunchesOf(args, { tile, ...cut(K - 5, parts) }, context);
        expect(differences(await product({ ...shape, device: scope, multiply }), want)).toBe(0);
        for (const tensor of scratches.values())
          expect((await scope.read(tensor)).every((x) => x === 0)).toBe(true);
      }
      scope.destroy();
    },
    60_000,
  );

  // All mantissas alike, of which one sum of products leaves i32 after cudaSpans and a little.
  it.each([
    [7, 127 / 128, 134_000],
    [15, 32_384 / 32_768, 66_500],
  ] as const)(
    'of %i bits over more than one i32 sum holds',
    async (nb, value, K) => {
      const [a, b] = [new Float32Array(K).fill(value), new Float32Array(2 * K).fill(value)];
      const shape = { a, b, M: 1, N: 2, nb, more: false };
      expect(K).toBeGreaterThan(cudaSpans[nb]);
      const scope = device.scope();
      const want = await product({ ...shape, device: createCpuDevice() });
      expect(differences(await product({ ...shape, device: scope }), want)).toBe(0);
      const { context } = contextOf(scope);
      const tile = cudaTiles[nb].at(-1) as CudaTile;
      const multiply = (args: GemmArgs) => gemmLaunchesOf(args, { tile, ...cut(K, 1) }, context);
      expect(differences(await product({ ...shape, device: scope, multiply }), want)).toBe(0);
      scope.destroy();
    },
    60_000,
  );
});

describe('the tile of a product', () => {
  const h200 = { multiprocessors: 132, sharedMax: 232_448 };
  const choose = (M: number, N: number, K: number, nb: Bits, batch = 1) =>
    chooseTile({ batch, M, N, K, nb }, h200.multiprocessors, h200.sharedMax);

  it('is a large one where the product fills the GPU', () => {
    expect(choose(8192, 8192, 8192, 7)).toMatchObject({ tile: { BM: 128, BN: 256 }, splits: 1 });
    expect(choose(8192, 8192, 8192, 10)).toMatchObject({ tile: { BM: 128, BN: 128 }, splits: 1 });
    expect(choose(8192, 8192, 8192, 15)).toMatchObject({ tile: { BM: 128, BN: 128 }, splits: 1 });
  });

  it('is small, and the contraction cut, where it does not', () => {
    const { tile, splits, span } = choose(1, 1024, 16_384, 7);
    expect(tile).toMatchObject({ BM: 64, BN: 64 });
    expect(splits).toBeGreaterThan(4);
    expect(span % 64).toBe(0);
  });

  it('holds sums of any length', () => {
    for (const nb of widths) {
      expect(choose(4096, 4096, cudaSpans[nb], nb).tile).toBe(choose(4096, 4096, 1024, nb).tile);
      for (const size of [1, 100, 4096])
        expect(choose(size, size, cudaSpans[nb] + 1, nb).tile.flush).toBe(true);
    }
    const most = { 7: qmaxOf[7] ** 2, 10: 47 ** 2, 15: 2 * 127 * 128 };
    for (const nb of widths) expect(cudaSpans[nb] * most[nb]).toBeLessThan(2 ** 31);
  });

  it('fits any GPU, and its kernel', () => {
    for (const { nb, tile } of everyTile) {
      expect(sharedBytes(tile, nb)).toBeLessThanOrEqual(101_376);
      expect(threadsOf(tile)).toBeLessThanOrEqual(256);
      const [A, B] = [tile.BM * 4, tile.BN * 4];
      expect([A % threadsOf(tile), B % threadsOf(tile), tile.BM % tile.WM, tile.BN % tile.WN]).toEqual([
        0, 0, 0, 0,
      ]);
    }
    const tight = chooseTile({ batch: 1, M: 8192, N: 8192, K: 8192, nb: 15 }, 132, 49_152);
    expect(sharedBytes(tight.tile, 15)).toBeLessThanOrEqual(49_152);
  });

  it('is cut without an empty part', () => {
    const anyCut = fc.tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 16 }));
    fc.assert(
      fc.property(anyCut, ([K, parts]) => {
        const { splits, span } = cut(K, parts);
        expect(splits).toBeLessThanOrEqual(parts);
        expect(splits * span).toBeGreaterThanOrEqual(K);
        expect((splits - 1) * span).toBeLessThan(K);
      }),
    );
  });
});
