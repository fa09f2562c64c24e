/** The WebGPU device on Dawn and SwiftShader: every case must have the reference's digest. No adapter is a failure, not a skip. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { findChromium, swiftshaderEnv } from '#scripts/find-chromium.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import programs from '../vectors/programs.json' with { type: 'json' };
import type { DawnReport } from './dawn-runner.ts';
import { probeDigest } from './probe.ts';

const run = promisify(execFile);
const file = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const expected = Object.fromEntries(Object.entries(conformance).map(([id, { outputs }]) => [id, outputs]));
let env: NodeJS.ProcessEnv;

async function dawn<T = DawnReport>(...args: string[]): Promise<T> {
  const hooks = file('../../scripts/raw-hooks.ts');
  const { stdout } = await run(process.execPath, ['--import', hooks, file('./dawn-runner.ts'), ...args], {
    env,
    maxBuffer: 16 << 20,
    timeout: 280_000,
  });
  return JSON.parse(stdout) as T;
}

beforeAll(async () => {
  const found = swiftshaderEnv(await findChromium());
  if (!found) throw new Error('This Chromium ships no SwiftShader, so nothing here can run WebGPU.');
  env = { ...process.env, ...found };
});

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
    300_000,
  );

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
    expect([...labels].sort()).toEqual(await entryPoints());
  }, 120_000);
});

/** The names of the WGSL files that have an entry point. */
async function entryPoints(): Promise<string[]> {
  const root = file('../ops');
  const paths = (await readdir(root, { recursive: true })).filter((path) => path.endsWith('.wgsl'));
  const texts = await Promise.all(paths.map((path) => readFile(`${root}/${path}`, 'utf8')));
  const withEntry = paths.filter((_, i) => texts[i]?.includes('@compute'));
  return withEntry.map((path) => path.replace(/^.*\/|\.wgsl$/g, '')).sort();
}
