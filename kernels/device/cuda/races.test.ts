/** The quick conformance vectors on the emulated CUDA device with its checks (testing/checks.h): no kernel races, none leaves its tensors. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import conformance from '../../vectors/conformance.json' with { type: 'json' };
import { conformanceCases, runConformance } from '../conformance.ts';
import { opOf } from '../conformance-outcome.ts';
import type { Device } from '../device.ts';
import { createEmulatedCudaDevice, haveCompiler } from './testing/emulated-device.ts';

const expected = conformance as Record<string, { outputs: string }>;

/** Cases that take a moment under the checks: not the largest, and a few of the products. */
const large = /65_?5|131072|13210|133|140000|50257|8209|4099|70001|10007|2053|4096x|x4100|1021|700,|130,1/;
const isQuick = (id: string) =>
  !large.test(id) && !/^(function|gemm\/(?!\d+\/(67x131x33|70x70|37x41|prefix-21|attention)))/.test(id);
const quick = conformanceCases.filter(({ id }) => isQuick(id));
const ops = [...new Set(quick.map(({ id }) => opOf(id)))];

describe.skipIf(!haveCompiler())('checked CUDA', () => {
  let device: Device;
  beforeAll(() => {
    device = createEmulatedCudaDevice({ seed: 3, checked: true });
  });
  afterAll(() => device.destroy());

  it.each(ops)(
    'races nowhere, and stays inside its tensors: %s',
    async (op) => {
      const cases = quick.filter(({ id }) => opOf(id) === op);
      const want = cases.map(({ id }) => [id, expected[id]?.outputs]);
      expect(await runConformance(device, { cases })).toEqual(Object.fromEntries(want));
    },
    600_000,
  );
});
