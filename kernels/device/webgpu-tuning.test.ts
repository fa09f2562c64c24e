/** Tuning: what is chosen, what is kept, and that a shape with wrong bits is never used. */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from './cpu.ts';
import { createDawnDevice } from './dawn.ts';
import { buildId, chooseConfig, defaultConfig, type GemmConfig, gemmConfigs, tune } from './webgpu-tuning.ts';

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
      port,
      timed: { M: 8, N: 8, K: 8, count: 1 },
    });
    expect(used.at(-1)).toBe(gemmConfigs[chosen]);
    expect(failures).toHaveLength(2);
  });

  it('uses the default on a GPU that computes nothing, and keeps nothing', async () => {
    const kept: string[] = [];
    const device = await createDawnDevice({
      flags: ['backend=null'],
      tuning: { get: () => null, set: (key) => void kept.push(key) },
    });
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

it('names builds apart', () => {
  expect(buildId('a')).not.toBe(buildId('b'));
  expect(buildId('kernel')).toBe(buildId('kernel'));
});
