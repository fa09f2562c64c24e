/**
 * The CUDA device against the reference: every conformance vector, every program's whole unit and random ones, with the `.cu` texts run on the processor in
 * shuffled orders of blocks and threads; the same on a real GPU where there is one. races.test.ts looks at every access.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Case } from '../../vectors/case.ts';
import conformance from '../../vectors/conformance.json' with { type: 'json' };
import { runProgramVectors } from '../../vectors/programs.ts';
import programs from '../../vectors/programs.json' with { type: 'json' };
import { conformanceCases, runConformance } from '../conformance.ts';
import { opOf } from '../conformance-outcome.ts';
import type { Device } from '../device.ts';
import { probeDigest, runProbe } from '../probe.ts';
import { buildProduct, productPlans } from '../testing/fuzz.ts';
import { expectSame, kinds, values } from '../testing/match.ts';
import { createCudaDevice } from './create.ts';
import { createEmulatedCudaDevice, haveCompiler } from './testing/emulated-device.ts';

const expected = conformance as Record<string, { outputs: string }>;
const byOp = Map.groupBy(conformanceCases, ({ id }) => opOf(id));
const ops = [...byOp.keys()];

async function expectVectors(device: Device, cases: readonly Case[]): Promise<void> {
  const want = cases.map(({ id }) => [id, expected[id]?.outputs]);
  expect(await runConformance(device, { cases })).toEqual(Object.fromEntries(want));
}

describe.skipIf(!haveCompiler())('emulated CUDA', () => {
  let device: Device;
  beforeAll(() => {
    device = createEmulatedCudaDevice({ seed: 7 });
  });
  afterAll(() => device.destroy());

  it.each(ops)(
    'gives the bits of the reference: %s',
    async (op) => {
      await expectVectors(device, byOp.get(op) ?? []);
    },
    600_000,
  );

  it('answers the probe', async () => {
    expect(await runProbe(device)).toBe(probeDigest);
  });

  it('computes whole units of every program', async () => {
    expect(await runProgramVectors(device)).toEqual(programs);
  }, 600_000);

  it('multiplies as the reference does, whatever the operands and options', async () => {
    const same = fc.asyncProperty(productPlans, (plan) => expectSame(device, (b) => buildProduct(b, plan)));
    await fc.assert(same, { numRuns: 100 });
  });

  it('adds up long sums of every kind of value', async () => {
    for (const count of [4097, 4096 * 64 + 5]) {
      for (const kind of kinds) {
        await expectSame(device, (b) => {
          const src = b.tensor(values(kind, count, 1));
          const dst = b.empty(3);
          b.record((o) => o.sum({ src, count, factor: Math.fround(1 / count), dst, at: 1 }));
          b.compare('sum', dst);
        });
      }
    }
  });
});

describe('a real GPU', () => {
  it('gives the bits of the reference', async ({ skip }) => {
    const device = await createCudaDevice().catch((error: Error) => error);
    if (device instanceof Error) return skip(`no CUDA device: ${device.message}`);
    await expectVectors(device, conformanceCases);
    expect(await runProbe(device)).toBe(probeDigest);
    expect(await runProgramVectors(device)).toEqual(programs);
    device.destroy();
  }, 600_000);
});
