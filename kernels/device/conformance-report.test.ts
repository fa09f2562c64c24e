/** What the report says of a device that is right, of one that is wrong in one element, and of one that fails. */
import { describe, expect, it } from 'vitest';
import { conformanceCases } from './conformance.ts';
import { makeDocument } from './conformance-document.ts';
import { bitsInWords, byOp } from './conformance-outcome.ts';
import { compare, examine, examineCase, expectedDigests } from './conformance-report.ts';
import { createCpuDevice } from './cpu.ts';
import type { Device } from './device.ts';

const cases = conformanceCases.filter(({ id }) => /^(nesterov|gelu|sum)\//.test(id));

/** A device that adds one to the bits of one element of what it reads. */
function lying(device: Device, at: number): Device {
  return {
    ...device,
    scope: () => lying(device.scope(), at),
    async read(tensor) {
      const values = await device.read(tensor);
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      if (at < bits.length) bits[at] = (bits[at] as number) + 1;
      return values;
    },
  };
}

describe('examine', () => {
  it('finds the reference the same in every case, in order, and tells its progress', async () => {
    const seen: [number, number][] = [];
    const outcomes = await examine(createCpuDevice(), {
      cases,
      programs: false,
      progress: (done, total) => seen.push([done, total]),
    });
    expect(outcomes).toEqual(cases.map(({ id }) => ({ id, same: true })));
    expect(seen).toEqual(cases.map((_, i) => [i + 1, cases.length]));
  });

  it('names the first differing element with the reference’s bits beside it', async () => {
    const given = cases.find(({ id }) => id === 'gelu/usual');
    if (!given) throw new Error('The case is gone.');
    const { same, difference } = await examineCase(lying(createCpuDevice(), 7), given);
    expect([same, difference?.at, difference?.count]).toEqual([false, 7, 3]); // one in each of its three outputs
    expect(Number(difference?.got) - Number(difference?.expected)).toBe(1);
    expect(difference?.expected).toMatch(/^0x[0-9a-f]{8}$/);
  });

  it('takes a case that throws for a failure of that case', async () => {
    const run = () => Promise.reject(new Error('no such buffer'));
    const outcome = await examineCase(createCpuDevice(), { id: 'gelu/usual', probe: false, run });
    expect(outcome).toEqual({ id: 'gelu/usual', same: false, error: 'no such buffer' });
  });

  it('says so when the reference itself is not what was committed', async () => {
    const given = cases[0];
    if (!given) throw new Error('There is no case.');
    const outcome = await examineCase(createCpuDevice(), given, 'another digest');
    expect(outcome.error).toMatch(/equals the reference as it runs here, but not the committed digest/);
  });

  it('ends when told to', async () => {
    const signal = AbortSignal.abort();
    await expect(examine(createCpuDevice(), { cases, signal })).rejects.toThrow();
  });
});

it('compares lengths before words', () => {
  expect(compare(new Uint32Array(2), new Uint32Array(3))).toEqual({ error: 'gave 3 words, not 2' });
});

it('shows bits as a float and as a whole number', () => {
  expect(bitsInWords('0xbf800000')).toBe('0xbf800000 (-1, or -1082130432)');
});

it('groups by op, and makes one document of it all', async () => {
  const outcomes = await examine(lying(createCpuDevice(), 0), { cases, programs: false });
  const gelu = byOp(outcomes).find(({ op }) => op === 'gelu');
  expect(gelu?.failures.length).toBe(gelu?.total);
  const info = { backend: 'reference', label: 'A liar', vendor: '', software: true } as const;
  const machine = { device: 'test', versions: {}, date: new Date(0) };
  const columns = [
    { id: 'a', title: 'A', report: { info, seconds: 1, outcomes } },
    { id: 'b', title: 'B', absent: 'not here' },
  ];
  const made = makeDocument(columns, machine);
  expect(made.v).toBe(1);
  expect(made.backends).toMatchObject([
    { id: 'a', different: outcomes.length },
    { id: 'b', absent: 'not here' },
  ]);
  expect(made.cases.map(({ id }) => id)).toEqual(Object.keys(expectedDigests()));
  const found = made.cases.find(({ id }) => id === 'gelu/usual');
  expect(found?.results).toEqual({ a: { difference: expect.objectContaining({ at: 0, count: 3 }) } });
});
