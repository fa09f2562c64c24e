/** QUANT on CUDA, on the emulated device against the reference: any bits, every layout of source and operand, rows written one by one. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CudaDevice } from '../../device/cuda/device.ts';
import { createEmulatedCudaDevice, haveCompiler } from '../../device/cuda/testing/emulated-device.ts';
import { anyBits, expectSame } from '../../device/testing/match.ts';
import { matrix, transpose, type View } from '../../tensor/tensor.ts';
import { rowBlock } from './cuda.ts';
import type { Bits } from './spec.ts';

const widths: readonly Bits[] = [7, 10, 15];

describe.skipIf(!haveCompiler())('quantize on the emulated device', () => {
  let device: CudaDevice;
  beforeAll(() => {
    device = createEmulatedCudaDevice({ seed: 5 });
  });
  afterAll(() => device.destroy());

  const shapes = [
    [1, 1],
    [9, 3],
    [3, 64],
    [33, 65],
    [67, 130],
    // Longer than the threads of a block keep.
    [2, 16_500],
  ] as const;

  it.each(shapes)(
    '%i x %i of any bits, in every layout',
    async (rows, cols) => {
      for (const nb of widths) {
        for (const random of [false, true]) {
          // Two batches that begin at an odd word, so that nothing is aligned; then the same where all is.
          for (const offset of [3, 0]) {
            const pitch = offset + rows * cols;
            const words = anyBits(2 * pitch + offset, 7 * nb + rows);
            await expectSame(device, (b) => {
              const whole: View = {
                ...matrix(b.tensor(words), rows, cols, offset),
                batch: [2, pitch, 1, 0],
              };
              const scalars = b.tensor(Uint32Array.of(99, 0, 0, 0));
              const rounding = random ? { stochastic: { site: 4, scalars } } : {};
              for (const [name, src] of Object.entries({ whole, turned: transpose(whole) })) {
                for (const across of [false, true]) {
                  const dst = b.quantized(2, src.rows, src.cols, across);
                  b.record((ops) => ops.quantize({ src, dst, nb, ...rounding }));
                  b.compare(`${name} ${nb} ${across}`, dst);
                }
              }
            });
          }
        }
      }
    },
    60_000,
  );

  it.each([0, 2, 5, 6, 7])('three rows from row %i on, as far as there is room', async (row) => {
    for (const across of [false, true]) {
      await expectSame(device, (b) => {
        const dst = b.quantized(1, 7, 21, across);
        const src = matrix(b.tensor(anyBits(3 * 21, row)), 3, 21);
        b.record((ops) => {
          ops.quantize({ src: matrix(b.tensor(anyBits(7 * 21, 50)), 7, 21), dst, nb: 10 });
          ops.quantize({ src, dst, nb: 10, dstRow: b.tensor(Uint32Array.of(row)) });
        });
        b.compare('rows', dst);
      });
    }
  });
});

it('a block keeps what it reads of a row, and is never too large', () => {
  for (const cols of [1, 64, 512, 513, 4096, 16_384, 70_000]) {
    const { threads, rows } = rowBlock(cols);
    expect(threads % 32).toBe(0);
    expect(threads * rows).toBeLessThanOrEqual(1024);
    if (cols <= 16_384) expect(threads * 16).toBeGreaterThanOrEqual(cols);
  }
});
