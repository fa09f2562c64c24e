/** Tuning: what is chosen, what is kept, and that a shape with wrong bits is never used. */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from './cpu.ts';
import { createDawnDevice } from './dawn.ts';
import { configsFor, defaultConfig, type GemmConfig, gemmConfigs } from './webgpu-gemm-configs.ts';
import { createWebGpuDevice } from './webgpu.ts';
import { buildId, chooseConfig, tune } from './webgpu-tuning.ts';

const names = Object.keys(gemmConfigs);

/** A trial on a clock of its own; each measurement takes 100 ms of it. */
function trialOf(times: Record<string, number>, wrong: readonly string[], budgetMs = 10_000) {
  let clock = 0;
  const tried: string[] = [];
  return {
    tried,
    budgetMs,
    now: () => clock,
    measure: async (name: string) => {
      tried.push(name);
      clock += 100;
      return times[name] ?? 50;
    },
    verify: async (name: string) => !wrong.includes(name),
  };
}

describe('chooseConfig', () => {
  it('takes the fastest', async () => {
    expect(await chooseConfig(names, trialOf({ '32x64': 3, '64x64': 5 }, []))).toBe('32x64');
  });

  it('takes the fastest with the right bits', async () => {
    expect(await chooseConfig(names, trialOf({ '32x64': 3, '64x64': 5 }, ['32x64']))).toBe('64x64');
    expect(await chooseConfig(names, trialOf({}, names))).toBeNull();
  });

  it('passes over what does not compile, and fails when nothing does', async () => {
    const trial = trialOf({ '64x64': 5 }, []);
    const refuse = (bad: (name: string) => boolean) => ({
      ...trial,
      measure: (name: string) => (bad(name) ? Promise.reject(new Error(`no ${name}`)) : trial.measure(name)),
    });
    expect(
      await chooseConfig(
        names,
        refuse((name) => name !== '64x64'),
      ),
    ).toBe('64x64');
    await expect(
      chooseConfig(
        names,
        refuse(() => true),
      ),
    ).rejects.toThrow(`no ${names.at(-1)}`);
  });

  it('stops when its time is up, and tries at least one', async () => {
    const trial = trialOf({}, [], 250);
    await chooseConfig(names, trial);
    expect(trial.tried).toEqual(names.slice(0, 3));
    expect(await chooseConfig(names, trialOf({}, [], 0))).toBe(names[0]);
  });
});

describe('tune', () => {
  it('keeps its choice, and takes it from there the next time', async () => {
    const kept = new Map<string, string>();
    const port = {
      get: (key: string) => kept.get(key) ?? null,
      set: (key: string, value: string) => void kept.set(key, value),
    };
    const used: GemmConfig[] = [];
    const target = {
      device: createCpuDevice(),
      use: (config: GemmConfig) => void used.push(config),
      key: 'k',
      nb: 10 as const,
      packed: true,
      port,
      timed: { M: 8, N: 8, K: 8, count: 1 },
    };
    const chosen = await tune(target);
    expect(kept.get('k')).toBe(chosen);
    used.length = 0;
    expect(await tune(target)).toBe(chosen);
    expect(used).toEqual([gemmConfigs[chosen]]);
  });

  it('goes on when its storage fails, and says so', async () => {
    const failures: unknown[] = [];
    const refuse = (): never => {
      throw new Error('refused');
    };
    const port = {
      get: () => Promise.reject(new Error('refused')),
      set: refuse,
      failed: (e: unknown) => failures.push(e),
    };
    const used: GemmConfig[] = [];
    const chosen = await tune({
      device: createCpuDevice(),
      use: (config) => void used.push(config),
      key: 'k',
      nb: 10,
      packed: true,
      port,
      timed: { M: 8, N: 8, K: 8, count: 1 },
    });
    expect(used.at(-1)).toBe(gemmConfigs[chosen]);
    expect(failures).toHaveLength(2);
  });

  it('leaves a GPU that refuses its trials for one without, and says so', async () => {
    const { create } = await import('webgpu');
    const gpu = create(['backend=null']);
    let opened = 0;
    const requestAdapter = async () => {
      const adapter = (await gpu.requestAdapter()) as GPUAdapter;
      const { info, limits, features } = adapter;
      const requestDevice = async (descriptor?: GPUDeviceDescriptor) => {
        const device = await adapter.requestDevice(descriptor);
        if (++opened === 1)
          device.createComputePipelineAsync = () => Promise.reject(new Error('no registers'));
        return device;
      };
      return { info, limits, features, requestDevice };
    };
    const failures: unknown[] = [];
    const port = { get: () => null, set: () => {}, failed: (error: unknown) => void failures.push(error) };
    const options = { gpu: { requestAdapter, kept: gpu } as unknown as GPU, allowSoftware: true };
    const device = await createWebGpuDevice({ ...options, tuning: port });
    expect(opened).toBe(2);
    expect(failures.map(String)).toEqual([expect.stringContaining('no registers')]);
    const [x, y] = [device.tensor(4), device.tensor(4)];
    await device.run(device.record((ops) => ops.gelu({ x, y, size: 4 })));
    device.destroy();
  });

  it('uses the default on a GPU that computes nothing, and keeps nothing', async () => {
    const kept: string[] = [];
    const device = await createDawnDevice({
      flags: ['backend=null'],
      tuning: { get: () => null, set: (key) => void kept.push(key) },
    });
    expect(device.compiled().some((name) => name.startsWith('gemm-dot4'))).toBe(true);
    const { WX, WY } = gemmConfigs[defaultConfig] as GemmConfig;
    const [a, b] = [device.quantized(1, 8, 8), device.quantized(1, 8, 8)];
    const dst = device.tensor(64);
    const view = {
      tensor: dst,
      offset: 0,
      batch: [1, 0, 1, 0] as const,
      rows: 8,
      rowStride: 8,
      cols: 8,
      colStride: 1,
    };
    await device.run(device.record((ops) => ops.gemm({ a, b, dst: view, nb: 7 })));
    expect(kept).toEqual([]);
    expect(device.compiled().some((name) => name.includes(`"WX":${WX},"WY":${WY}`))).toBe(true);
    device.destroy();
  });
});

it('tries six to ten configurations of each width, and packed ones only where they run', () => {
  for (const nb of [7, 10, 15] as const) expect(configsFor(nb, true).length).toBeGreaterThanOrEqual(5);
  expect(configsFor(7, false)).toEqual(configsFor(10, true));
  expect(configsFor(7, true).filter((name) => name.startsWith('dot4'))).toHaveLength(2);
  expect(configsFor(15, true).every((name) => gemmConfigs[name]?.kind === 'tile')).toBe(true);
});

it('names builds apart', () => {
  expect(buildId('a')).not.toBe(buildId('b'));
  expect(buildId('kernel')).toBe(buildId('kernel'));
});
