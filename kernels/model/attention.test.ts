/** Tiled attention against f64: outputs, and gradients by finite differences, where a tile begins or ends, and for groups of heads. */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../device/cpu.ts';
import { createWasmDevice } from '../device/wasm.ts';
import { scalarCount } from '../ops/adamw/spec.ts';
import { Random } from '../vectors/inputs.ts';
import { architectureOf } from './architecture.ts';
import { Attention, scoresSize, tileAt, tileRows, tilesOf } from './attention.ts';
import { attention as attention64 } from './gpt64.ts';
import { OperandPool } from './operand-pool.ts';
import { precisionOf } from './policy.ts';

interface Outcome {
  qkv: Float32Array;
  dout: Float32Array;
  out: Float32Array;
  dqkv: Float32Array;
}

const shapeOf = (T: number, NH: number, NKV: number) => ({
  ...architectureOf({ L: 1, C: NH * 8, NH, NKV, T: 4, V: 2 }),
  T,
  batch: 2,
});

async function run(
  T: number,
  NH: number,
  NKV: number,
  device = createCpuDevice(),
  batch = 2,
): Promise<Outcome> {
  const shape = { ...shapeOf(T, NH, NKV), batch };
  const { QKV, C } = shape;
  const random = Random.of(`attention ${T} ${NH} ${NKV}`);
  const [qkv, dout] = [random.values(batch * T * QKV, -3, 1), random.values(batch * T * C, -3, 1)];
  const tensor = (size: number, values?: Float32Array) => {
    const made = device.tensor(size);
    if (values) device.write(made, values);
    return made;
  };
  const attention = new Attention(new OperandPool(device), precisionOf.i15, tensor(scalarCount), shape);
  const scores = tensor(scoresSize(shape));
  const io = {
    qkv: tensor(qkv.length, qkv),
    dout: tensor(dout.length, dout),
    // What lies in the gradient before does not matter.
    dqkv: tensor(qkv.length, random.values(qkv.length)),
  };
  const out = tensor(dout.length);
  await device.run(
    device.record((ops) => {
      attention.forward(ops, io.qkv, scores, out);
      const kept = attention.keepsProbabilities ? scores : null;
      attention.backward(ops, 0, io, { kept, scores, scratch: tensor(scoresSize(shape)) });
    }),
  );
  return { qkv, dout, out: await device.read(out), dqkv: await device.read(io.dqkv) };
}

/** Sum of out * dout of the second sequence, in f64. */
function objective(shape: ReturnType<typeof shapeOf>, qkv: Float64Array, dout: Float32Array): number {
  const out = attention64(shape, qkv);
  return out.reduce((sum, value, i) => sum + value * (dout[out.length + i] as number), 0);
}

/** i15 caps mantissas at 32639 of 32768: a single large value may lose this much. */
const error = 4e-3;

/** Output and gradients of one head of 8 channels, row by row in f64. */
function gradients64(T: number, qkv: Float32Array, dout: Float32Array) {
  const [HD, QKV] = [8, 24];
  const out = new Float64Array(T * HD);
  const dqkv = new Float64Array(T * QKV);
  const at = (values: ArrayLike<number>, i: number) => values[i] as number;
  const dot = (a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number) => {
    let sum = 0;
    for (let d = 0; d < HD; d++) sum += at(a, i + d) * at(b, j + d);
    return sum;
  };
  const add = (to: Float64Array, i: number, factor: number, from: ArrayLike<number>, j: number) => {
    for (let d = 0; d < HD; d++) to[i + d] = at(to, i + d) + factor * at(from, j + d);
  };
  for (let i = 0; i < T; i++) {
    const e = Float64Array.from({ length: i + 1 }, (_, j) =>
      Math.exp(dot(qkv, i * QKV, qkv, j * QKV + HD) / Math.sqrt(HD)),
    );
    const total = e.reduce((sum, x) => sum + x, 0);
    const dP = e.map((_, j) => dot(dout, i * HD, qkv, j * QKV + 2 * HD));
    const mean = e.reduce((sum, x, j) => sum + (x / total) * at(dP, j), 0);
    for (let j = 0; j <= i; j++) {
      const p = at(e, j) / total;
      const dS = (p * (at(dP, j) - mean)) / Math.sqrt(HD);
      add(out, i * HD, p, qkv, j * QKV + 2 * HD);
      add(dqkv, j * QKV + 2 * HD, p, dout, i * HD);
      add(dqkv, i * QKV, dS, qkv, j * QKV + HD);
      add(dqkv, j * QKV + HD, dS, qkv, i * QKV);
    }
  }
  return { out, dqkv };
}

const norm = (values: readonly number[]) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

describe('tiled attention', () => {
  it.each([
    [1, 2, 2],
    [2, 2, 1],
    [127, 2, 2],
    [128, 2, 2],
    [129, 2, 2],
    [129, 4, 2],
    [257, 2, 1],
    [300, 3, 3],
  ])('of T = %i, NH = %i, NKV = %i is that of f64, and so are its gradients', async (T, NH, NKV) => {
    const shape = shapeOf(T, NH, NKV);
    const { QKV } = shape;
    const { qkv, dout, out, dqkv } = await run(T, NH, NKV);
    const second = Float64Array.from(qkv.subarray(T * QKV));
    const expected = attention64(shape, second);
    const got = out.subarray(out.length / 2);
    expect(norm([...got].map((x, i) => x - (expected[i] as number)))).toBeLessThan(
      error * norm([...expected]),
    );
    const rows = [0, T >> 1, Math.min(T - 1, 127), Math.min(T - 1, 128), T - 1];
    const picks = rows.flatMap((row) => [0, 9, NH * 8 + 1, (NH + NKV) * 8 + 2].map((c) => row * QKV + c));
    const h = 1e-4;
    const numeric = picks.map((at) => {
      const moved = (by: number) => {
        const values = second.slice();
        values[at] = (values[at] as number) + by;
        return objective(shape, values, dout);
      };
      return (moved(h) - moved(-h)) / (2 * h);
    });
    const ours = picks.map((at) => dqkv[T * QKV + at] as number);
    expect(norm(ours.map((x, i) => x - (numeric[i] as number)))).toBeLessThan(error * norm(numeric));
  });

  it('of T = 4096 is that of f64, and so are its gradients, on WASM', async () => {
    const T = 4096;
    const { qkv, dout, out, dqkv } = await run(T, 1, 1, await createWasmDevice(), 1);
    const expected = gradients64(T, qkv, dout);
    const relative = (got: Float32Array, wanted: Float64Array) =>
      norm([...got].map((x, i) => x - (wanted[i] as number))) / norm([...wanted]);
    expect(relative(out, expected.out)).toBeLessThan(error);
    expect(relative(dqkv, expected.dqkv)).toBeLessThan(error);
  });

  it('gives a position the same bits whatever comes after it', async () => {
    const device = createCpuDevice();
    const outputs = await Promise.all(
      [130, 300].map(async (T) => {
        const shape = { ...shapeOf(T, 4, 2), batch: 1 };
        const values = Random.of('attention')
          .values(300 * shape.QKV)
          .subarray(0, T * shape.QKV);
        const [qkv, out] = [device.tensor(values.length), device.tensor(T * shape.C)];
        const scalars = device.tensor(scalarCount);
        device.write(qkv, values);
        const attention = new Attention(new OperandPool(device), precisionOf.i10sr, scalars, shape);
        const scores = device.tensor(scoresSize(shape));
        await device.run(device.record((ops) => attention.forward(ops, qkv, scores, out)));
        return (await device.read(out)).slice(0, 130 * shape.C);
      }),
    );
    expect(outputs[0]).toEqual(outputs[1]);
  });
});

describe('tiles', () => {
  it('cover the queries, and are as wide as the keys up to their end', () => {
    expect(tilesOf(100)).toEqual([{ index: 0, start: 0, end: 100, rows: 100, width: 100 }]);
    expect(tilesOf(300).map(({ start, rows, width }) => [start, rows, width])).toEqual([
      [0, 128, 128],
      [128, 128, 256],
      [256, 44, 300],
    ]);
    expect(tilesOf(4096)).toHaveLength(4096 / tileRows);
    expect(tileAt(299, 1, 4096)).toEqual({ index: 2, start: 299, end: 300, rows: 1, width: 512 });
  });
});
