/** The committed digests are those of the reference and of the cases as they are now. */
import { describe, expect, it } from 'vitest';
import { conformanceCases } from '../device/conformance.ts';
import { createCpuDevice } from '../device/cpu.ts';
import { probeDigest, runProbe } from '../device/probe.ts';
import { functionCases } from './function-cases.ts';
import { opCases } from './op-cases.ts';
import { type CaseDigests, transcribe } from './transcript.ts';
import committed from './conformance.json' with { type: 'json' };

const expected: Record<string, CaseDigests> = committed;

describe('conformance vectors', () => {
  it('have one entry a case, and no other', () => {
    const ids = conformanceCases.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Object.keys(expected)).toEqual(ids);
  });

  it('are those of the reference, and not stale', async () => {
    const device = createCpuDevice();
    for (const given of conformanceCases) {
      expect({ [given.id]: await transcribe(given, device) }).toEqual({ [given.id]: expected[given.id] });
    }
  });

  it('hold something: only x - x and x * 0 give nothing but zeros', async () => {
    const device = createCpuDevice();
    const zeros: string[] = [];
    for (const { id, run } of conformanceCases) {
      const words = await run(device);
      expect([id, words.length > 0]).toEqual([id, true]);
      if (words.every((word) => word === 0)) zeros.push(id);
    }
    expect(zeros).toEqual(['elementwise/sub/both-in-place', 'elementwise/scale/0']);
  });

  it('reach both ends of the range in products', async () => {
    const device = createCpuDevice();
    for (const { id, run } of opCases.filter((given) => given.id.includes('/ladder-'))) {
      const sizes = new Set((await run(device)).map((word) => word & 0x7fffffff));
      expect([id, sizes.has(0), sizes.has(0x53800000), sizes.size > 1000]).toEqual([id, true, true, true]);
    }
  });

  it('contain no NaN, infinity, -0 or tiny value where values are PF32', async () => {
    const device = createCpuDevice();
    const cases = [...opCases, ...functionCases].filter(({ id }) => !/^quantize|^encode-rows|^sample|^route\/|lowbias32/.test(id));
    for (const { id, run } of cases) {
      const wrong = (await run(device)).findIndex((word) => {
        const size = word & 0x7fffffff;
        return size >= 0x7f800000 || (size < 0x0d800000 && word !== 0);
      });
      expect([id, wrong]).toEqual([id, -1]);
    }
  });
});

describe('probe', () => {
  it('has the digest of the reference', async () => {
    expect(await runProbe(createCpuDevice())).toBe(probeDigest);
  });
});
