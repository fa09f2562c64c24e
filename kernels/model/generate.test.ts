/** Generation with a cache against the whole forward pass: the same bits at every position, on the reference and on WASM. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import { createCpuDevice } from '../device/cpu.ts';
import type { Device } from '../device/device.ts';
import { createWasmDevice } from '../device/wasm.ts';
import { lowbias32 } from '../ops/math/cpu.ts';
import { Generator, weightsFrom } from './generate.ts';
import { Gpt } from './gpt.ts';
import { initialWeights } from './init.ts';

const gpt2: ModelConfig = { L: 2, C: 24, NH: 3, T: 140, V: 37, biases: true };
const llama: ModelConfig = {
  ...gpt2,
  NH: 6,
  NKV: 2,
  HID: 34,
  biases: false,
  norm: 'rms',
  mlp: 'swiglu',
  positions: 'rotary',
  tied: false,
};
const experts: ModelConfig = { ...llama, T: 20, experts: { E: 5, k: 2 } };
const models = { gpt2, llama, experts, small: { L: 1, C: 8, NH: 2, T: 5, V: 7 } satisfies ModelConfig };
const tokensOf = ({ T, V }: ModelConfig) => Array.from({ length: T }, (_, i) => lowbias32(i + 5) % V);

/** [T][V] of the whole forward pass. */
async function allLogits(device: Device, model: ModelConfig, policy: Policy): Promise<Float32Array[]> {
  const gpt = new Gpt(device, model, 1, policy, false);
  gpt.load(initialWeights(model, 4));
  gpt.setTokens([...tokensOf(model), 0]);
  await device.run(gpt.recordForward());
  const logits = await gpt.readLogits();
  return Array.from({ length: model.T }, (_, t) => logits.slice(t * model.V, (t + 1) * model.V));
}

function load(device: Device, model: ModelConfig, policy: Policy): Promise<Generator> {
  return Generator.load(device, weightsFrom(model, initialWeights(model, 4)), policy);
}

async function collect(tokens: AsyncIterable<number>): Promise<number[]> {
  const list: number[] = [];
  for await (const token of tokens) list.push(token);
  return list;
}

const devices: Record<string, () => Promise<Device>> = {
  reference: () => Promise.resolve(createCpuDevice()),
  WASM: () => createWasmDevice(),
};

describe.each(Object.entries(devices))('on %s', (_, make) => {
  let device: Device;
  beforeAll(async () => {
    device = await make();
  });

  it.each([
    ['gpt2', 'i10sr'],
    ['gpt2', 'i15'],
    ['llama', 'i8sr'],
    ['llama', 'i15'],
    ['experts', 'i8sr'],
    ['small', 'i10sr'],
  ] as const)('%s under %s decodes to the logits of the whole forward pass', async (name, policy) => {
    const model = models[name];
    const expected = await allLogits(createCpuDevice(), model, policy);
    const generator = await load(device, model, policy);
    const tokens = tokensOf(model);
    // One position after the other.
    for (let t = 0; t < model.T; t++) {
      expect([t, await generator.logits(tokens.slice(0, t + 1))]).toEqual([t, expected[t]]);
    }
    // In tiles, over a cache that holds another text.
    const other = tokens.map((token) => (token + 1) % model.V);
    await generator.logits(other);
    for (const count of [model.T, 2, 131, 128, 129, 41].filter((n) => n <= model.T)) {
      const logits = await generator.logits(tokens.slice(0, count));
      expect([count, logits]).toEqual([count, expected[count - 1]]);
      await generator.logits(other.slice(0, 1));
    }
  });

  it('gives the likeliest tokens, and goes on until the context is full', async () => {
    const generator = await load(device, gpt2, 'i10sr');
    const prompt = tokensOf(gpt2).slice(0, 136);
    const tokens = await collect(generator.generate(prompt, { maxTokens: 50 }));
    expect(tokens).toHaveLength(5);
    let text = prompt;
    for (const token of tokens) {
      const logits = await generator.logits(text);
      expect(token).toBe(logits.indexOf(Math.max(...logits)));
      text = [...text, token];
    }
  });

  it('draws the same tokens from the same seed', async () => {
    const generator = await load(device, llama, 'i15');
    const draw = (seed: number) =>
      collect(generator.generate([1, 2, 3], { maxTokens: 30, temperature: 1, topK: 20, seed }));
    const first = await draw(1);
    expect(new Set(first).size).toBeGreaterThan(5);
    expect(await draw(2)).not.toEqual(first);
    expect(await draw(1)).toEqual(first);
  });
});

describe('a generator', () => {
  it.each([
    ['an empty prompt', [], 'bad_input'],
    ['a prompt beyond the context', Array.from({ length: 6 }, () => 0), 'bad_input'],
    ['what is no token', [7], 'bad_input'],
  ])('refuses %s', async (_, prompt, code) => {
    const generator = await load(createCpuDevice(), models.small, 'i15');
    await expect(collect(generator.generate(prompt, { maxTokens: 1 }))).rejects.toMatchObject({ code });
  });

  it('stops when it is told to', async () => {
    const generator = await load(createCpuDevice(), gpt2, 'i15');
    const controller = new AbortController();
    const tokens = generator.generate([1], { maxTokens: 100, signal: controller.signal });
    await tokens.next();
    controller.abort();
    await expect(tokens.next()).rejects.toMatchObject({ code: 'cancelled' });
  });
});
