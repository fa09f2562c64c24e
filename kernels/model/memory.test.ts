/** What a model is said to take is what it takes: on Dawn's null backend, whose every buffer is counted. */
import { expect, it } from 'vitest';
import { create } from 'webgpu';
import type { ModelConfig } from '#protocol/messages/model.ts';
import { createCpuDevice } from '../device/cpu.ts';
import { createWebGpuDevice, type WebGpuDevice } from '../device/webgpu.ts';
import { constant } from '../ops/math/cpu.ts';
import { Gpt } from './gpt.ts';
import { memoryOf, type MemoryQuestion } from './memory.ts';

const small: ModelConfig = { L: 2, C: 32, NH: 2, T: 24, V: 64 };
const rates = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };
const optimiser = {
  beta1: constant(rates.beta1),
  beta2: constant(rates.beta2),
  eps: constant(rates.eps),
  weightDecay: constant(rates.weightDecay),
};

/** A device, and the sizes of the buffers made on it so far. */
async function counted(): Promise<{ device: WebGpuDevice; sizes: number[] }> {
  const gpu = create(['backend=null']);
  const sizes: number[] = [];
  const requestAdapter = async () => {
    const adapter = (await gpu.requestAdapter()) as GPUAdapter;
    const requestDevice = async (descriptor?: GPUDeviceDescriptor) => {
      const made = await adapter.requestDevice(descriptor);
      const { createBuffer } = made;
      made.createBuffer = (wanted) => {
        sizes.push(wanted.size);
        return createBuffer.call(made, wanted);
      };
      return made;
    };
    return { info: adapter.info, limits: adapter.limits, features: adapter.features, requestDevice };
  };
  const kept = { requestAdapter, keep: gpu } as unknown as GPU;
  return { device: await createWebGpuDevice({ gpu: kept, allowSoftware: true }), sizes };
}

it.each<[string, Omit<MemoryQuestion, 'model' | 'batch' | 'policy'>]>([
  ['a training step', { optimiser }],
  ['a step that clips', { optimiser: { ...optimiser, clipNorm: 1 }, keepGradients: true }],
  ['a step that computes again what it did not keep', { optimiser, recompute: true }],
  ['a forward pass', {}],
])('is exact for %s, and allocates nothing', async (_, extra) => {
  const { device, sizes } = await counted();
  const before = sizes.length;
  const question = { model: small, batch: 3, policy: 'i10sr' as const, ...extra };
  const need = memoryOf(device, question);
  expect(sizes).toHaveLength(before);
  const { model, batch, policy, optimiser: wanted, ...options } = question;
  const gpt = new Gpt(device, model, batch, policy, wanted !== undefined, options);
  if (wanted) gpt.recordStep(wanted);
  else gpt.recordForward();
  const made = sizes.slice(before);
  expect(need).toEqual({
    buffers: made.length,
    bytes: made.reduce((sum, size) => sum + size, 0),
    largestBytes: Math.max(...made),
  });
  device.destroy();
});

it('refuses a model that does not fit before the first buffer', async () => {
  const { device, sizes } = await counted();
  const before = sizes.length;
  const large = { ...small, C: 2 ** 15, V: 2 ** 16 };
  expect(() => memoryOf(device, { model: large, batch: 1, policy: 'i10sr', optimiser })).toThrow(
    expect.objectContaining({ code: 'out_of_memory' }),
  );
  expect(sizes).toHaveLength(before);
  device.destroy();
});

it('is not known on a device that allocates from one memory', () => {
  expect(memoryOf(createCpuDevice(), { model: small, batch: 1, policy: 'i10sr' })).toBeNull();
});
