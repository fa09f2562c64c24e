/** Products of a mixture of experts on CUDA: every tile on the emulated device against the reference, with experts of no rows and rows of no expert. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CudaDevice } from '../../device/cuda/device.ts';
import { createEmulatedCudaDevice, haveCompiler } from '../../device/cuda/testing/emulated-device.ts';
import { createCpuDevice } from '../../device/cpu.ts';
import type { Device } from '../../device/device.ts';
import { values } from '../../device/testing/match.ts';
import { matrix } from '../../tensor/tensor.ts';
import { type CudaTile, cudaTiles } from '../gemm/cuda-tiles.ts';
import type { Bits } from '../quantize/spec.ts';
import { groupedGemmLaunchesOf } from './grouped-cuda.ts';
import type { GroupedGemmArgs } from './spec.ts';

const [E, R, K, N] = [4, 170, 100, 140] as const;
const offsets = Uint32Array.of(0, 37, 37, 101, 163);

/** The words of dst; by the op itself, or by one tile. */
async function run(device: Device, kind: GroupedGemmArgs['kind'], nb: Bits, tile?: CudaTile) {
  const filled = (words: Float32Array | Uint32Array) => {
    const tensor = device.tensor(words.length);
    device.write(tensor, words);
    return tensor;
  };
  const rows = kind === 'rows';
  const [a, b] = rows
    ? [device.quantized(1, R, K), device.quantized(E, N, K)]
    : [device.quantized(1, K, R), device.quantized(1, N, R)];
  const source = ({ batch, rows: height, cols }: typeof a, seed: number) => ({
    ...matrix(filled(values('normal', batch * height * cols, seed)), height, cols),
    batch: [batch, height * cols, 1, 0] as const,
  });
  const dst = filled(values('normal', rows ? R * N : E * K * N, 3));
  const more = rows ? {} : { residual: dst };
  const args: GroupedGemmArgs = { kind, a, b, offsets: filled(offsets), dst, nb, ...more };
  const [left, right] = [source(a, 1), source(b, 2)];
  const quantise = device.record((ops) => {
    ops.quantize({ src: left, dst: a, nb });
    ops.quantize({ src: right, dst: b, nb });
  });
  await device.run(quantise);
  const recording = tile
    ? (device as CudaDevice).recordLaunches(groupedGemmLaunchesOf(args, tile))
    : device.record((ops) => ops.groupedGemm(args));
  await device.run(recording);
  return new Uint32Array((await device.read(dst)).buffer.slice(0));
}

/** How many words differ. */
const differences = (got: Uint32Array, want: Uint32Array) =>
  got.length === want.length ? got.filter((word, i) => word !== want[i]).length : Infinity;

describe.skipIf(!haveCompiler())('products by experts on the emulated device', () => {
  let device: CudaDevice;
  beforeAll(() => {
    device = createEmulatedCudaDevice({ seed: 3 });
  });
  afterAll(() => device.destroy());

  const cases = ([7, 10, 15] as const).flatMap((nb) =>
    cudaTiles[nb].map(
      (tile) => [nb, `${tile.BM}x${tile.BN}${tile.flush ? ', any length' : ''}`, tile] as const,
    ),
  );
  it.each(cases)(
    'of %i bits by tiles of %s',
    async (nb, _, tile) => {
      for (const kind of ['rows', 'contraction'] as const) {
        const want = await run(createCpuDevice(), kind, nb);
        const scope = device.scope();
        expect(differences(await run(scope, kind, nb, tile), want)).toBe(0);
        expect(differences(await run(scope, kind, nb), want)).toBe(0);
        scope.destroy();
      }
    },
    60_000,
  );
});
