/**
 * Runs what soft.test.ts asserts, on Dawn, and prints it as JSON: a process of its own for the reason that dawn-runner.ts gives.
 *
 * Arguments: `suite` (the conformance suite on integers), `pairs` (sums and products of many numbers against Math.fround), `fall-back`.
 */
import * as math from '../ops/math/cpu.ts';
import { functionPass } from '../ops/math/gpu.ts';
import plain from '../ops/math/pf32-plain.wgsl?raw';
import { hardPairs } from '../vectors/hard-pairs.ts';
import { runConformance } from './conformance.ts';
import { createDawnDevice } from './dawn.ts';
import { createProvenDevice } from './proven.ts';
import type { WebGpuDevice } from './webgpu.ts';

/** How many pairs there were, and the first few that came out wrong. */
export interface PairsReport {
  count: number;
  wrong: string[];
}
export interface FallBackReport {
  label: string;
  probe: string;
  soft: boolean;
}

const references = { add: math.add, sub: math.sub, mul: math.mul } as const;

async function suite(): Promise<Record<string, string>> {
  const device = await createDawnDevice({ allowSoftware: true, arithmetic: 'soft' });
  const digests = await runConformance(device);
  device.destroy();
  return digests;
}

async function pairs(): Promise<PairsReport> {
  const device = await createDawnDevice({ allowSoftware: true, arithmetic: 'soft' });
  const { a, b } = hardPairs();
  const wrong: string[] = [];
  for (const name of ['add', 'sub', 'mul'] as const) {
    const got = await evaluate(device, name, a, b);
    got.forEach((bits, i) => {
      const [x, y] = [a[i] as number, b[i] as number];
      const want = math.toBits(references[name](math.fromBits(x), math.fromBits(y)));
      if (bits !== want) wrong.push(`${name} ${[x, y, bits, want].map((word) => word.toString(16))}`);
    });
  }
  device.destroy();
  return { count: a.length, wrong: wrong.slice(0, 20) };
}

async function evaluate(
  device: WebGpuDevice,
  name: keyof typeof references,
  a: Uint32Array,
  b: Uint32Array,
): Promise<Uint32Array> {
  const [x, y, none, out] = [a, b, new Uint32Array(a.length), null].map((words) => {
    const tensor = device.tensor(a.length);
    if (words) device.write(tensor, words);
    return tensor;
  }) as [Tensor, Tensor, Tensor, Tensor];
  await device.run(device.recordPasses([functionPass(name, x, y, none, out)]));
  return new Uint32Array((await device.read(out)).buffer);
}
type Tensor = ReturnType<WebGpuDevice['tensor']>;

/** Sums of four come out one unit in the last place too large: a compiler that breaks the rules. */
const broken = plain.replace(
  'return bitcast<vec4u>(bitcast<vec4f>(a) + bitcast<vec4f>(b));',
  'return bitcast<vec4u>(bitcast<vec4f>(a) + bitcast<vec4f>(b)) + vec4u(1u);',
);

async function fallBack(): Promise<FallBackReport> {
  if (broken === plain) throw new Error('pf32-plain.wgsl has no such line any more.');
  const { device, probe, soft } = await createProvenDevice((arithmetic) =>
    createDawnDevice({ allowSoftware: true, arithmetic: arithmetic ?? { wgsl: broken } }),
  );
  const { label } = device.info;
  device.destroy();
  return { label, probe, soft };
}

const modes = { suite, pairs, 'fall-back': fallBack };
const mode = modes[process.argv[2] as keyof typeof modes];
process.stdout.write(JSON.stringify(await mode()));
