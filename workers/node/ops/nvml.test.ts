/** The graphics processors that a management library tells of, by koffi from a fake one; and which of them `--gpus` means. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseList, selectGpus } from './gpus.ts';
import { type Nvml, openNvml } from './nvml.ts';
import { buildFakeNvml, hasCompiler } from './testing/fake-nvml.ts';

const whole = 'GPU-00000000-aaaa-bbbb-cccc-000000000000';
const cut = 'GPU-11111111-aaaa-bbbb-cccc-111111111111';
const parts = [
  'MIG-22222222-aaaa-bbbb-cccc-222222222222',
  'MIG-33333333-aaaa-bbbb-cccc-333333333333',
] as const;
const gpus = [
  { index: 0, uuid: whole, name: 'Test H200', isMig: false, instances: [] },
  {
    index: 1,
    uuid: cut,
    name: 'Test A100',
    isMig: true,
    instances: [
      { index: 0, uuid: parts[0] },
      { index: 2, uuid: parts[1] },
    ],
  },
];

if (!hasCompiler) console.warn('Skipped: NVML by koffi, since there is no g++ to build a fake one.');

describe.skipIf(!hasCompiler)('NVML by koffi', () => {
  let dir: string;
  let nvml: Nvml;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'atoll-nvml-'));
    const opened = openNvml({ ATOLL_NVML: buildFakeNvml(dir) });
    if (!opened) throw new Error('The fake library could not be opened.');
    nvml = opened;
  });
  afterAll(async () => {
    nvml.close();
    await rm(dir, { recursive: true, force: true });
  });

  it('lists processors and MIG instances, gaps in their numbers included', () => {
    expect(nvml.driver).toBe('580.65.06');
    expect(nvml.gpus()).toEqual(gpus);
  });

  it('reads by UUID and by index', () => {
    const reading = {
      watts: 412.5,
      busy: 0.87,
      memoryUsedBytes: 2 ** 30,
      memoryTotalBytes: 141 * 2 ** 30,
      celsius: null,
    };
    expect(nvml.read(whole)).toEqual(reading);
    expect(nvml.read('0')).toEqual(reading);
    expect(nvml.read('7')).toBeNull();
  });

  it('reads of an instance its own memory and the power of its processor', () => {
    expect(nvml.read(parts[1])).toMatchObject({ watts: 251, busy: null, memoryTotalBytes: 20 * 2 ** 30 });
  });

  it('is not there where there is no such library', () => {
    expect(openNvml({ ATOLL_NVML: path.join(dir, 'none.so') })).toBeNull();
    expect(openNvml({ ATOLL_NVML: '/dev/null' })).toBeNull();
  });
});

describe('nvidia-smi -L', () => {
  it('says the same', () => {
    const text = `GPU 0: Test H200 (UUID: ${whole})
GPU 1: Test A100 (UUID: ${cut})
  MIG 3g.20gb     Device  0: (UUID: ${parts[0]})
  MIG 1g.5gb      Device  2: (UUID: ${parts[1]})
`;
    expect(parseList(text)).toEqual(gpus);
    expect(parseList('No devices were found\n')).toEqual([]);
  });
});

describe('--gpus', () => {
  const labels = (spec: string) => selectGpus(spec, gpus).map(({ label }) => label);

  it('takes all, indices, instances, UUIDs and their beginnings; a processor that is cut stands for its instances', () => {
    expect(labels('all')).toEqual(['gpu0', 'gpu1-mig0', 'gpu1-mig2']);
    expect(labels('0')).toEqual(['gpu0']);
    expect(labels('1')).toEqual(['gpu1-mig0', 'gpu1-mig2']);
    expect(labels('1:2,0')).toEqual(['gpu1-mig2', 'gpu0']);
    expect(labels(`${parts[1]},GPU-0000`)).toEqual(['gpu1-mig2', 'gpu0']);
    expect(labels(cut)).toEqual(['gpu1-mig0', 'gpu1-mig2']);
    expect(labels('0,0,1')).toEqual(['gpu0', 'gpu1-mig0', 'gpu1-mig2']);
    expect(selectGpus('1:2', gpus)[0]?.uuid).toBe(parts[1]);
  });

  it.each(['2', '0:0', '1:1', 'GPU-9999', 'first', '', 'MIG-'])(
    'refuses %j and names what there is',
    (spec) => {
      expect(() => selectGpus(spec, gpus)).toThrow(/names no graphics processor.*1:2 \(MIG-3333/);
    },
  );

  it('says so of a processor that is to be cut and is not yet', () => {
    const uncut = [{ index: 0, uuid: whole, name: 'Test', isMig: true, instances: [] }];
    expect(() => selectGpus('0', uncut)).toThrow(/no MIG instance yet/);
  });
});
