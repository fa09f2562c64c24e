/** What `auto` takes and what it says of what it passed over: with CUDA as a function, as a node gives it. */
import { describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import { chooseDevice } from './choose.ts';
import { createCpuDevice } from './cpu.ts';
import type { Device } from './device.ts';

const noGpu = { gpu: () => Promise.reject(new AtollError('no_device', 'There is no WebGPU.')) };
const info = { backend: 'cuda', label: 'A GPU', vendor: 'nvidia', software: false } as const;

/** The reference by another name; with `lies`, the first word of what it reads is another. */
function cuda(lies = false, destroyed: () => void = () => {}): Device {
  const wrap = (device: Device): Device => ({
    ...device,
    info,
    scope: () => wrap(device.scope()),
    async read(tensor) {
      const values = await device.read(tensor);
      if (lies) new Uint32Array(values.buffer)[0] = 1;
      return values;
    },
  });
  return { ...wrap(createCpuDevice()), destroy: destroyed };
}

describe('auto', () => {
  it('takes CUDA before anything else, once it has passed the probe', async () => {
    const { device, why, probe } = await chooseDevice('auto', { ...noGpu, cuda: async () => cuda() });
    expect(device.info).toEqual(info);
    expect(why).toBe('Computes on the graphics processor (A GPU) through CUDA.');
    expect(probe).toMatch(/^0x/);
  });

  it('passes CUDA over with its reason alone, and not what to do about it', async () => {
    const none = new AtollError('no_device', 'The driver is not here. Install it.');
    const { device, why } = await chooseDevice('auto', { ...noGpu, cuda: () => Promise.reject(none) });
    expect(device.info.backend).toBe('wasm');
    expect(why).toContain('CUDA was passed over: The driver is not here. WebGPU was passed over');
    device.destroy();
  });

  it('passes over a GPU that gives other bits, and lets it go', async () => {
    let ends = 0;
    const lying = async () => cuda(true, () => ends++);
    const { device, why } = await chooseDevice('auto', { ...noGpu, cuda: lying });
    expect([device.info.backend, ends]).toEqual(['wasm', 1]);
    expect(why).toContain('A GPU gave other bits than the reference');
    device.destroy();
  });

  it('does not speak of CUDA where there can be none', async () => {
    const { device, why } = await chooseDevice('auto', noGpu);
    expect(why).not.toContain('CUDA');
    device.destroy();
  });
});

describe('cuda by its name', () => {
  it('never falls back', async () => {
    const none = new AtollError('no_device', 'The driver is not here. Install it.');
    await expect(chooseDevice('cuda', { ...noGpu, cuda: () => Promise.reject(none) })).rejects.toBe(none);
    await expect(chooseDevice('cuda', noGpu)).rejects.toMatchObject({ code: 'no_device' });
  });

  it('is stopped by its signal', async () => {
    const signal = AbortSignal.abort();
    const seen: (AbortSignal | undefined)[] = [];
    const make = async (given?: AbortSignal) => {
      seen.push(given);
      return cuda();
    };
    await chooseDevice('cuda', { cuda: make, signal });
    expect(seen).toEqual([signal]);
  });
});
