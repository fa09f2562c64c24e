/**
 * Every shape that a row or column kernel comes in on CUDA, against the reference, on the emulated device: each length of row kept in registers, odd ones,
 * rows of several blocks, codes by one warp and more, strips of both widths, columns of several blocks. Skipped where there is no g++.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCpuDevice } from '../../device/cpu.ts';
import { createEmulatedCudaDevice, haveCompiler } from '../../device/cuda/testing/emulated-device.ts';
import type { Device, Ops } from '../../device/device.ts';
import { Random } from '../../vectors/inputs.ts';
import type { Tensor } from '../../tensor/tensor.ts';

interface Shape {
  rows: number;
  cols: number;
}

/** Fills tensors from a seed, records one op, and says what it wrote. */
type Plan = (
  fill: (count: number) => Tensor,
  zeros: (count: number) => Tensor,
  shape: Shape,
) => [(ops: Ops) => void, Tensor[]];

const plans: Record<string, Plan> = {
  layerNorm(fill, zeros, { rows, cols }) {
    const [x, gain, bias] = [fill(rows * cols), fill(cols), fill(cols)];
    const [y, mean, rstd] = [zeros(rows * cols), zeros(rows), zeros(rows)];
    return [(ops) => ops.layerNorm({ x, gain, bias, y, mean, rstd, rows, cols }), [y, mean, rstd]];
  },
  layerNormGrad(fill, zeros, { rows, cols }) {
    const [dy, x, residual, gain] = [fill(rows * cols), fill(rows * cols), fill(rows * cols), fill(cols)];
    const [mean, rstd, dx] = [fill(rows), fill(rows), zeros(rows * cols)];
    return [(ops) => ops.layerNormGrad({ dy, x, gain, mean, rstd, residual, dx, rows, cols }), [dx]];
  },
  softmax(fill, _, { rows, cols }) {
    const scores = fill(2 * rows * cols);
    const shape = { batch: 2, rows, cols, offset: Math.max(0, cols - rows - 3), scale: 0.125 };
    return [(ops) => ops.softmax({ scores, ...shape }), [scores]];
  },
  softmaxGrad(fill, _, { rows, cols }) {
    const [probabilities, gradient] = [fill(2 * rows * cols), fill(2 * rows * cols)];
    const shape = { batch: 2, rows, cols, offset: Math.max(0, cols - rows - 3), scale: 0.125 };
    return [(ops) => ops.softmaxGrad({ probabilities, gradient, ...shape }), [gradient]];
  },
  encodeRows(fill, zeros, { rows, cols }) {
    const [src, minus] = [fill(rows * cols), fill(rows * cols)];
    const [codes, exponents] = [zeros(Math.ceil((rows * cols) / 4)), zeros(Math.ceil(rows / 4))];
    return [(ops) => ops.encodeRows({ src, minus, codes, exponents, rows, cols }), [codes, exponents]];
  },
  columnSum(fill, _, { rows, cols }) {
    const [src, dst] = [fill(rows * cols), fill(cols)];
    return [(ops) => ops.columnSum({ src, dst, rows, cols, accumulate: true }), [dst]];
  },
  layerNormParamGrad(fill, zeros, { rows, cols }) {
    const [dy, x, mean, rstd] = [fill(rows * cols), fill(rows * cols), fill(rows), fill(rows)];
    const [dgain, dbias] = [zeros(cols), zeros(cols)];
    return [(ops) => ops.layerNormParamGrad({ dy, x, mean, rstd, dgain, dbias, rows, cols }), [dgain, dbias]];
  },
};

/** 8, 16, 32 and 64 pairs, full, odd and just begun; then a row of several blocks and warps. */
const lengths = [1, 64, 511, 512, 514, 1023, 1026, 2047, 2050, 4095, 4096, 4097, 9001, 12_290].map(
  (cols) => ({
    rows: 3,
    cols,
  }),
);
/** Narrow and wide strips, of one block of rows and of several; every remainder of rounds. */
const columns: Shape[] = [
  { rows: 63, cols: 5 },
  { rows: 1400, cols: 33 },
  { rows: 4097, cols: 9 },
  { rows: 8300, cols: 40 },
  { rows: 193, cols: 9000 },
  { rows: 321, cols: 8450 },
];
/** Rows of codes by one warp, several and the most; longer ones, and those that end within a word, go another way. */
const encoded: Shape[] = [4, 1024, 1028, 4096, 32_768, 32_772, 2050].map((cols) => ({ rows: 5, cols }));

const cases = Object.keys(plans).flatMap((op) =>
  (op === 'encodeRows' ? encoded : /column|param/i.test(op) ? columns : lengths).map(
    (shape) => [op, shape.rows, shape.cols] as const,
  ),
);

describe.skipIf(!haveCompiler())('row and column kernels on CUDA', () => {
  let devices: [cuda: Device, reference: Device];
  beforeAll(() => {
    devices = [createEmulatedCudaDevice(), createCpuDevice()];
  });
  afterAll(() => {
    for (const device of devices ?? []) device.destroy();
  });

  it.each(cases)('%s %i x %i', async (op, rows, cols) => {
    const results: Uint32Array[][] = [];
    for (const device of devices) {
      const scope = device.scope();
      const random = Random.of(`${op} ${rows} ${cols}`);
      const fill = (count: number) => {
        const tensor = scope.tensor(count);
        scope.write(tensor, random.values(count));
        return tensor;
      };
      const [record, outputs] = (plans[op] as Plan)(fill, (count) => scope.tensor(count), { rows, cols });
      await scope.run(scope.record(record));
      const words: Uint32Array[] = [];
      for (const tensor of outputs) words.push(new Uint32Array((await scope.read(tensor)).buffer));
      results.push(words);
      scope.destroy();
    }
    const [got, want] = results as [Uint32Array[], Uint32Array[]];
    for (const [i, words] of want.entries()) {
      expect(words.findIndex((word, at) => word !== got[i]?.[at])).toBe(-1);
    }
  });
});
