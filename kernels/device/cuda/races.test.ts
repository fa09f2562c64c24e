/** The quick conformance vectors on the emulated CUDA device with its checks (testing/checks.h): no kernel races, none leaves its tensors. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import conformance from '../../vectors/conformance.json' with { type: 'json' };
import { conformanceCases, runConformance } from '../conformance.ts';
import { opOf } from '../conformance-outcome.ts';
import type { Device } from '../device.ts';
import { createEmulatedCudaDevice, haveCompiler } from './testing/emulated-device.ts';

const expected = conformance as Record<string, { outputs: string }>;
const ops = [...new Set(conformanceCases.map(({ id }) => opOf(id)))];

/** Cases that the checks see through in a moment: everything but the longest contractions. */
const quick = conformanceCases.filter(
  ({ id }) => !/65_?5|133|140000|50257|65537|8209|4099|70001|10007/.test(id) && !id.startsWith('function'),
);

describe.skipIf(!haveCompiler())('checked CUDA', () => {
  let device: Device;
  beforeAll(() => {
    device = createEmulatedCudaDevice({ seed: 3, checked: true });
  });
  afterAll(() => device.destroy());

  it.each(ops)('races nowhere, and stays inside its tensors: %s', async (op) => {
    await expectVectors(
      device,
      quick.filter(({ id }) => opOf(id) === op),
    );
  });
});
