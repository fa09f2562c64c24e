/** PF32 by integers alone, on Dawn and SwiftShader: the reference's bits everywhere, and taken when a device's f32 fails the probe. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { findChromium, swiftshaderEnv } from '#scripts/find-chromium.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import { probeDigest } from './probe.ts';
import { createProvenDevice } from './proven.ts';
import type { FallBackReport, PairsReport } from './soft-runner.ts';
import { createCpuDevice } from './cpu.ts';

const run = promisify(execFile);
const file = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const expected = Object.fromEntries(Object.entries(conformance).map(([id, { outputs }]) => [id, outputs]));

async function soft<T>(mode: string): Promise<T> {
  const found = swiftshaderEnv(await findChromium());
  if (!found) throw new Error('This Chromium ships no SwiftShader, so nothing here can run WebGPU.');
  const hooks = file('../../scripts/raw-hooks.ts');
  const { stdout } = await run(process.execPath, ['--import', hooks, file('./soft-runner.ts'), mode], {
    env: { ...process.env, ...found },
    maxBuffer: 16 << 20,
    timeout: 880_000,
  });
  return JSON.parse(stdout) as T;
}

describe('f32 by integers', () => {
  it('adds, subtracts and multiplies as Math.fround does', async () => {
    const { count, wrong } = await soft<PairsReport>('pairs');
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(100_000);
  }, 300_000);

  it('gives the bits of the reference in every case', async () => {
    expect(await soft('suite')).toEqual(expected);
  }, 900_000);
});

describe('a device that must prove itself', () => {
  it('is made again with integers when its sums are off by a unit in the last place, and says so', async () => {
    const { label, probe, soft: isSoft } = await soft<FallBackReport>('fall-back');
    expect({ probe, isSoft }).toEqual({ probe: probeDigest, isSoft: true });
    expect(label).toContain('integers for f32');
  }, 900_000);

  it('stays as it is when it passes', async () => {
    const asked: unknown[] = [];
    const { soft: isSoft } = await createProvenDevice(async (arithmetic) => {
      asked.push(arithmetic);
      return createCpuDevice();
    });
    expect([isSoft, asked]).toEqual([false, [undefined]]);
  });

  it('is refused when integers do not help, and every device that was made is destroyed', async () => {
    let destroyed = 0;
    const wrong = createProvenDevice(async () => {
      const device = createCpuDevice();
      const scope = (): typeof device => ({
        ...device,
        read: async (tensor) => (await device.read(tensor)).map((x) => x + 1),
      });
      return { ...device, scope, destroy: () => void destroyed++ };
    });
    await expect(wrong).rejects.toMatchObject({ code: 'nonconforming' });
    expect(destroyed).toBe(2);
  });
});
