/** The backward pass of every member of the family against finite differences of the f64 model, and the policies against each other. */
import { describe, expect, it } from 'vitest';
import type { ModelConfig, Policy } from '#protocol/messages/job.ts';
import { createCpuDevice } from '../device/cpu.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { constant, lowbias32, toBits } from '../ops/math/cpu.ts';
import { Gpt, type GptOptions } from './gpt.ts';
import { loss64 } from './gpt64.ts';
import { initialWeights } from './init.ts';
import { parameterCount, parameterLayout } from './layout.ts';

const model: ModelConfig = { L: 2, C: 16, NH: 2, T: 8, V: 20 };
/** What the config can say, in a few models that say it all. */
const family: Record<string, ModelConfig> = {
  'GPT-2': { ...model, biases: true },
  Llama: {
    ...model,
    NH: 4,
    NKV: 2,
    HID: 24,
    norm: 'rms',
    mlp: 'swiglu',
    positions: 'rotary',
    tied: false,
  },
  'a mix': { ...model, norm: 'rms', NKV: 1, biases: true, mlp: 'swiglu', HID: 19 },
  'rotary GPT': { ...model, positions: 'rotary', ropeTheta: toBits(500), tied: false, HID: 40 },
  experts: { ...model, HID: 12, norm: 'rms', mlp: 'swiglu', experts: { E: 4, k: 2 } },
  'GELU experts': { ...model, HID: 20, experts: { E: 3, k: 1 } },
};
const batch = 2;
const windows = Uint8Array.from({ length: batch * (model.T + 1) }, (_, i) => lowbias32(i) % model.V);
/** A learning rate of 0 leaves the weights alone, so the gradients can be read after a whole step. */
const still = { seed: 7, lr: 0, bias1: toBits(1), bias2: toBits(1) };
const optimiser = { beta1: 0, beta2: 0, eps: constant(1e-8), weightDecay: 0 };

const weights = initialWeights(model, 3);

/** Weights whose gains and biases are not the constants that a model starts from. */
function unevenWeights(config: ModelConfig): Float32Array {
  const values = initialWeights(config, 3);
  for (const { offset, rows, cols, init } of parameterLayout(config)) {
    if (!('value' in init)) continue;
    for (let i = offset; i < offset + rows * cols; i++) {
      values[i] = Math.fround((values[i] as number) + (lowbias32(i) % 100) / 256);
    }
  }
  return values;
}

async function gradients(
  policy: Policy,
  config = model,
  values = weights,
  options: GptOptions = {},
): Promise<{ loss: number; grads: Float32Array }> {
  const device = createCpuDevice();
  const gpt = new Gpt(device, config, batch, policy, true, { keepGradients: true, ...options });
  gpt.load(values);
  gpt.setTokens(windows);
  gpt.setScalars(still);
  await device.run(gpt.recordStep(optimiser));
  const grads = new Float32Array(parameterCount(config));
  for (const { spec, grad } of gpt.parameters) grads.set(await device.read(grad as Tensor), spec.offset);
  return { loss: await gpt.readLoss(), grads };
}

function difference(index: number, config = model, values = weights): number {
  const h = 1e-5;
  const at = (delta: number) => {
    const w = Float64Array.from(values);
    w[index] = (w[index] as number) + delta;
    return loss64(config, w, windows, batch);
  };
  return (at(h) - at(-h)) / (2 * h);
}

function norm(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

describe('gradients', () => {
  it.each([
    ['i15', 1e-4, 2e-3],
    ['i10sr', 2e-3, 3e-2],
    ['i8sr', 2e-2, 2e-1],
  ] as const)(
    '%s agree with finite differences of the f64 model, tensor by tensor',
    async (policy, lossError, error) => {
      const { loss, grads } = await gradients(policy);
      expect(Math.abs(loss - loss64(model, Float64Array.from(weights), windows, batch))).toBeLessThan(
        lossError,
      );
      for (const { name, offset, rows, cols } of parameterLayout(model)) {
        const size = rows * cols;
        const picks = Array.from({ length: 12 }, (_, i) => offset + (lowbias32(i + size) % size));
        const numeric = picks.map((i) => difference(i));
        const ours = picks.map((i) => grads[i] as number);
        const relative = norm(ours.map((g, i) => g - (numeric[i] as number))) / (norm(numeric) + 1e-4);
        expect(relative, name).toBeLessThan(error);
      }
    },
  );

  it.each(Object.entries(family))(
    'of %s agree with finite differences, tensor by tensor',
    async (_, config) => {
      const values = unevenWeights(config);
      const { loss, grads } = await gradients('i15', config, values);
      expect(Math.abs(loss - loss64(config, Float64Array.from(values), windows, batch))).toBeLessThan(1e-4);
      for (const { name, offset, rows, cols } of parameterLayout(config)) {
        const size = rows * cols;
        const picks = Array.from({ length: 8 }, (_, i) => offset + (lowbias32(i + size) % size));
        const numeric = picks.map((i) => difference(i, config, values));
        const ours = picks.map((i) => grads[i] as number);
        const relative = norm(ours.map((g, i) => g - (numeric[i] as number))) / (norm(numeric) + 1e-4);
        expect(relative, name).toBeLessThan(4e-3);
      }
    },
  );

  it.each(Object.entries(family))(
    'of %s are the same bits when activations are computed again',
    async (_, config) => {
      const values = unevenWeights(config);
      const kept = await gradients('i10sr', config, values, { recompute: false });
      expect(await gradients('i10sr', config, values, { recompute: true })).toEqual(kept);
    },
  );

  it('are the same bits every time, and depend on the seed only under stochastic rounding', async () => {
    const first = await gradients('i10sr');
    const second = await gradients('i10sr');
    expect(second).toEqual(first);
  });

  it('leaves earlier positions alone when a later token changes', async () => {
    const device = createCpuDevice();
    const gpt = new Gpt(device, model, batch, 'i10sr', false);
    gpt.load(weights);
    const run = async (tokens: Uint8Array) => {
      gpt.setTokens(tokens);
      await device.run(gpt.recordForward());
      return gpt.readLosses();
    };
    const before = await run(windows);
    const changed = windows.slice();
    changed[model.T - 1] = ((changed[model.T - 1] as number) + 1) % model.V;
    const after = await run(changed);
    // The changed token is input T - 1 and target T - 2: earlier losses must not move by a bit.
    expect(after.slice(0, model.T - 2)).toEqual(before.slice(0, model.T - 2));
    expect(after[model.T - 1]).not.toBe(before[model.T - 1]);
  });
});

describe('clipping', () => {
  /** The norm of all first moments after one step, which with beta1 = 0 are the gradients as Adam saw them. */
  async function momentNorm(clipNorm?: number): Promise<number> {
    const device = createCpuDevice();
    const gpt = new Gpt(device, model, batch, 'i15', true, { keepGradients: true });
    gpt.load(weights);
    gpt.setTokens(windows);
    gpt.setScalars(still);
    await device.run(gpt.recordStep({ ...optimiser, ...(clipNorm === undefined ? {} : { clipNorm }) }));
    const moments = await Promise.all(gpt.parameters.map(({ m }) => device.read(m as Tensor)));
    return norm(moments.flatMap((m) => [...m]));
  }

  it('scales all gradients together down to the norm, and leaves smaller ones alone', async () => {
    const free = await momentNorm();
    expect(await momentNorm(constant(free / 4))).toBeCloseTo(free / 4, 5);
    expect(await momentNorm(constant(free * 2))).toBe(free);
  });

  it('needs all gradients at once', () => {
    const gpt = new Gpt(createCpuDevice(), model, batch, 'i15', true);
    expect(() => gpt.recordStep({ ...optimiser, clipNorm: 1 })).toThrow(
      expect.objectContaining({ code: 'bad_input' }),
    );
  });
});
