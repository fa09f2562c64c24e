/** Expected-loss training: the committed curves bit for bit, and what a policy costs against f32 on English text. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type Policy, policySchema } from '#protocol/messages/model.ts';
import { createCpuDevice } from '../device/cpu.ts';
import { createUnroundedDevice } from '../device/testing/unrounded.ts';
import { createWasmDevice } from '../device/wasm.ts';
import { curveBits, curveSteps, trainingLosses } from './curves.ts';

const text = await readFile(new URL('./english.txt', import.meta.url));
const curves = JSON.parse(await readFile(new URL('./curves.json', import.meta.url), 'utf8'));

/** Trained once for the file: the committed curve is the beginning of what the policies are compared by. */
const steps = 150;
const trained = new Map<Policy, Promise<Float32Array>>();
function lossesOnWasm(policy: Policy): Promise<Float32Array> {
  const known = trained.get(policy);
  if (known) return known;
  const losses = createWasmDevice().then((device) => trainingLosses(device, policy, text, steps));
  trained.set(policy, losses);
  return losses;
}

describe(`the loss over ${curveSteps} steps on English text`, () => {
  it.each(policySchema.options)('is the committed curve under %s, on WASM', async (policy) => {
    const losses = await lossesOnWasm(policy);
    expect(curveBits(losses.subarray(0, curveSteps))).toEqual(curves[policy]);
  }, 600_000);

  it('is the committed curve under i10sr, on the reference', async () => {
    const losses = await trainingLosses(createCpuDevice(), 'i10sr', text, curveSteps);
    expect(curveBits(losses)).toEqual(curves.i10sr);
  }, 300_000);
});

describe('the policies against f32 products', () => {
  const tail = 25;
  const end = (losses: Float32Array) => losses.subarray(steps - tail).reduce((a, b) => a + b, 0) / tail;

  it('end within 0.02 nats of it', async () => {
    const f32 = end(await trainingLosses(createUnroundedDevice(), 'i15', text, steps));
    // Below the entropy of single bytes (3.3): the model has learned from its context.
    expect(f32).toBeLessThan(2.7);
    for (const policy of policySchema.options) {
      const exact = end(await lossesOnWasm(policy));
      expect(Math.abs(exact - f32), `${policy}: ${exact} against ${f32}`).toBeLessThan(0.02);
    }
  }, 600_000);
});
