/** The WebGPU device on Dawn and SwiftShader: every case must have the reference's digest. No adapter is a failure, not a skip. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { findChromium, swiftshaderEnv } from '#scripts/find-chromium.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import programs from '../vectors/programs.json' with { type: 'json' };
import type { DawnReport, DawnVariant, VariantReport } from './dawn-runner.ts';
import { probeDigest } from './probe.ts';
import { configsFor, gemmConfigs } from './webgpu-gemm-configs.ts';

const run = promisify(execFile);
const file = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const expected = Object.fromEntries(Object.entries(conformance).map(([id, { outputs }]) => [id, outputs]));
let env: NodeJS.ProcessEnv;

async function dawn<T = DawnReport>(...args: string[]): Promise<T> {
  const hooks = file('../../scripts/raw-hooks.ts');
  const { stdout } = await run(process.execPath, ['--import', hooks, file('./dawn-runner.ts'), ...args], {
    env,
    maxBuffer: 16 << 20,
    timeout: 580_000,
  });
  return JSON.parse(stdout) as T;
}

beforeAll(async () => {
  const found = swiftshaderEnv(await findChromium());
  if (!found) throw new Error('This Chromium ships no SwiftShader, so nothing here can run WebGPU.');
  env = { ...process.env, ...found };
});

/** Cases of one width: a tile and a bit, several spans, a contraction that ends inside a vec4, a diagonal, strides, something added. */
const sorts = [
  '67x131x33',
  'extreme-2053',
  'prefix-21',
  'prefix-21-transposed',
  'offset-7',
  'attention-causal',
];
const gemmCases = (nb: number, names = [...sorts, '37x41x20-accumulate', '70x70x3-causal-residual']) =>
  names.map((name) => `gemm/${nb}/${name}`);

/** Kernels that neither kind of adapter gets by itself: GEMM's other configurations, and the direct one where there are no subgroups. */
const variants: [name: string, variant: DawnVariant, kernels: string[]][] = [
  ...Object.entries(gemmConfigs).map(([gemm, { kind, WX, WY }]): [string, DawnVariant, string[]] => {
    const few = ['67x131x33', 'extreme-2053'];
    const first = WX === 8 && WY === 8;
    // Limits of 7 bits: the longest packed sum, and the first that takes the usual kernel.
    const packed = first
      ? [...gemmCases(7), 'gemm/7/extreme-133144', 'gemm/7/extreme-133145']
      : gemmCases(7, few);
    const plain = first ? [...gemmCases(7, few), ...gemmCases(10)] : gemmCases(10, few);
    const ids = kind === 'dot4' ? packed : kind === 'shared' ? plain : gemmCases(10, ['67x131x33']);
    const kernels = { dot4: ['gemm-pack', 'gemm-dot4'], shared: ['gemm-shared'], tile: ['gemm'] }[kind];
    return [gemm, { shapes: 'hardware', gemm, ids }, kernels];
  }),
  [
    'the direct kernel without subgroups',
    { shapes: 'software', without: 'subgroups', ids: [...gemmCases(7), ...gemmCases(10)] },
    ['gemm-direct'],
  ],
];

describe('Dawn on SwiftShader', () => {
  it.each([['for an adapter on the CPU'], ['for real GPUs', 'hardware']])(
    'gives the bits of the reference with the workgroup shapes %s',
    async (_, ...shapes) => {
      const report = await dawn('suite', ...shapes);
      expect(report.info.software).toBe(true);
      expect(report.digests).toEqual(expected);
      expect(report.probe).toBe(probeDigest);
      expect(report.programs).toEqual(programs);
    },
    600_000,
  );

  it.each(variants)(
    'gives the bits of the reference with %s',
    async (_, variant, kernels) => {
      const [report] = await dawn<VariantReport[]>('variants', JSON.stringify([variant]));
      expect(report?.digests).toEqual(Object.fromEntries(variant.ids.map((id) => [id, expected[id]])));
      const compiled = report?.compiled.map((name) => name.split(' ')[0]);
      for (const label of kernels) expect(compiled).toContain(label);
    },
    600_000,
  );

  it('is tuned once for each width, and gives the bits of the reference with what was kept', async () => {
    const ids = [7, 10, 15].flatMap((nb) => gemmCases(nb, ['67x131x33']));
    const tuned: DawnVariant = { shapes: 'hardware', isTuned: true, ids };
    const [report] = await dawn<VariantReport[]>('variants', JSON.stringify([tuned]));
    expect(report?.digests).toEqual(Object.fromEntries(ids.map((id) => [id, expected[id]])));
    expect(report?.kept.map(([key]) => key.split(' ')[1])).toEqual(['10', '7', '15']);
    for (const [key, name] of report?.kept ?? []) {
      expect(configsFor(Number(key.split(' ')[1]) as 7 | 10 | 15, true)).toContain(name);
    }
  }, 300_000);

  it('submits runs in the order of their calls, whatever still compiles', async () => {
    expect(await dawn<number>('order')).toBe(16);
  });
});

describe('Dawn without a GPU', () => {
  it('compiles every kernel within the limits that every adapter has', async () => {
    const labels = new Set<string | undefined>();
    for (const shapes of ['hardware', 'software']) {
      const report = await dawn('null', shapes);
      expect(Object.keys(report.digests)).toEqual(Object.keys(expected));
      expect(Object.values(report.digests).filter((digest) => digest.startsWith('failed'))).toEqual([]);
      for (const name of report.compiled) labels.add(name.split(' ')[0]);
    }
    // What no GPU gets before it is tuned.
    const ids = ['gemm/7/67x131x33', 'gemm/10/67x131x33'];
    const all = Object.keys(gemmConfigs).map((gemm): DawnVariant => ({
      shapes: 'hardware',
      gemm,
      isNull: true,
      ids,
    }));
    for (const { compiled, digests } of await dawn<VariantReport[]>('variants', JSON.stringify(all))) {
      expect(Object.values(digests).filter((digest) => digest.startsWith('failed'))).toEqual([]);
      for (const name of compiled) labels.add(name.split(' ')[0]);
    }
    expect([...labels].sort()).toEqual(await entryPoints());
  }, 300_000);
});

/** The names of the WGSL files that have an entry point. */
async function entryPoints(): Promise<string[]> {
  const root = file('../ops');
  const paths = (await readdir(root, { recursive: true })).filter((path) => path.endsWith('.wgsl'));
  const texts = await Promise.all(paths.map((path) => readFile(`${root}/${path}`, 'utf8')));
  const withEntry = paths.filter((_, i) => texts[i]?.includes('@compute'));
  return withEntry.map((path) => path.replace(/^.*\/|\.wgsl$/g, '')).sort();
}
