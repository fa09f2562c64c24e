/**
 * The CUDA driver's calls, structures, order, memory and errors, against a library that stands in for NVIDIA's (testing/fake-cuda.cpp, held against cuda.h
 * where that is). It computes in RAM what three little kernels ask; real arithmetic is vectors.test.ts's.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CudaDevice, createCudaDeviceOn } from './device.ts';
import type { CudaTensor, Launch } from './launch.ts';
import { chooseGpu, cudaGpus } from './native-devices.ts';
import { type NativeDriverOptions, openNativeDriver } from './native-driver.ts';
import { fakeLibrary } from './testing/fake-library.ts';

const found = await fakeLibrary();
if ('absent' in found) console.log(`The CUDA driver's calls are not tested: ${found.absent}.`);

const image = new TextEncoder().encode('FAKE\0');
const compiler = () => ({ compile: () => Promise.resolve(image) });
const source = { label: 'little', parts: ['three kernels'] };
const one = [1, 1, 1] as const;
const launch = (entry: string, args: Launch['args'], shared = 0): Launch => ({
  kernel: { source, entry },
  args,
  grid: one,
  block: [64, 1, 1],
  shared,
});
const fill = (x: CudaTensor, value: number) => launch('fill', [x, x.size, value]);
const add = (x: CudaTensor, y: CudaTensor) => launch('add', [x, y, x.size]);
const words = (floats: Float32Array) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
const kinds = ['memory', 'pinned', 'stream', 'event', 'module', 'graph', 'exec', 'context'];

describe.skipIf('absent' in found)('over a library in place of the driver', () => {
  const fake = found as Exclude<typeof found, { absent: string }>;
  const open = (options: Partial<NativeDriverOptions> = {}) =>
    openNativeDriver({ compiler, library: fake.file, ...options });
  let device: CudaDevice;
  const tensor = (size: number) => device.tensor(size) as CudaTensor;
  const read = async (x: CudaTensor) => words(await device.read(x));

  beforeEach(async () => {
    fake.reset();
    device = createCudaDeviceOn(await open());
  });
  afterEach(() => device.destroy());

  it('tells what the GPU is', () => {
    expect(device.driver).toMatchObject({
      name: 'Fake GPU',
      uuid: 'GPU-10111213-1415-1617-1819-1a1b1c1d1e1f',
      capability: 90,
      multiprocessors: 132,
      sharedMax: 232448,
      emulated: false,
    });
    expect(device.info).toEqual({ backend: 'cuda', label: 'Fake GPU', vendor: 'nvidia', software: false });
  });

  it('zeroes, writes and reads, in pieces where it is much', async () => {
    const x = tensor(3 << 20); // 12 MiB: more than the ring and three pieces
    expect((await read(x)).every((word) => word === 0)).toBe(true);
    const given = Uint32Array.from({ length: x.size }, (_, i) => Math.imul(i, 0x9e3779b9) >>> 0);
    device.write(x, given);
    device.write(x, new Uint32Array([7]), 5);
    given[5] = 7;
    expect(Buffer.compare(Buffer.from((await read(x)).buffer), Buffer.from(given.buffer))).toBe(0);
  });

  it('lets the caller reuse what was written at once, however many writes wait', async () => {
    const x = tensor(4096);
    const scratch = new Uint32Array(1024);
    fake.set('notReady', 1_000_000);
    for (let i = 0; i < 4000; i++) device.write(x, scratch.fill(i), (i % 4) * 1024);
    expect(fake.count('cuEventSynchronize')).toBeGreaterThan(0);
    fake.set('notReady', 0);
    const now = await read(x);
    expect([0, 1, 2, 3].map((i) => now[i * 1024 + 1023])).toEqual([3996, 3997, 3998, 3999]);
  });

  it('runs kernels in order, with their parameters, as one graph that runs again', async () => {
    const [x, y] = [tensor(100), tensor(100)];
    const recording = device.recordLaunches([fill(x, 0xfffffffe), add(x, y), fill(x, 3), add(x, y)]);
    await device.run(recording);
    await device.run(recording);
    expect((await read(y)).every((word) => word === 2)).toBe(true);
    expect([fake.count('cuGraphInstantiateWithFlags'), fake.count('cuGraphLaunch')]).toEqual([1, 2]);
    expect(fake.count('cuGraphAddKernelNode_v2')).toBe(4);
    expect(fake.living('graph')).toBe(0);
  });

  it('reads what memory held when it was asked, whatever ran since', async () => {
    const x = tensor(1 << 20);
    const runs = [1, 2, 3].map((value) => device.recordLaunches([fill(x, value)]));
    for (const recording of runs) await device.run(recording);
    fake.set('notReady', 20);
    const reads: Promise<Uint32Array>[] = [];
    for (const recording of runs) {
      await device.run(recording);
      reads.push(read(x));
    }
    device.write(x, new Uint32Array(x.size));
    expect((await Promise.all(reads)).map((each) => [each[0], each[x.size - 1]])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });

  it('reads in order too where there is no room for a snapshot', async () => {
    const x = tensor(1000);
    const recording = device.recordLaunches([fill(x, 9)]);
    await device.run(recording);
    fake.fail('cuMemAllocAsync', 2);
    const reading = read(x);
    device.write(x, new Uint32Array(1000));
    expect((await reading)[999]).toBe(9);
    expect((await read(x))[999]).toBe(0);
  });

  it('does not block the thread while the GPU computes', async () => {
    const x = tensor(10);
    fake.set('notReady', 12);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 0);
    await device.read(x);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
    expect(fake.count('cuEventSynchronize') + fake.count('cuStreamSynchronize')).toBe(0);
  });

  it('keeps the order of runs and writes, also while the first run still waits for its kernels', async () => {
    const [x, y] = [tensor(10), tensor(10)];
    const recording = device.recordLaunches([add(x, y)]);
    device.write(x, new Uint32Array(10).fill(1));
    const first = [
      device.run(recording),
      device.run(device.recordLaunches([fill(y, 5)])),
      device.run(recording),
    ];
    await Promise.all(first);
    const again = device.run(recording);
    device.write(x, new Uint32Array(10).fill(100)); // after the call, so after the run
    await again;
    expect((await read(y))[0]).toBe(7);
  });

  it('lets only a few runs be under way, and the thread breathe between them', async () => {
    const x = tensor(10);
    const recording = device.recordLaunches([fill(x, 1)]);
    await device.run(recording);
    fake.set('notReady', 1_000_000);
    let handedOver = 0;
    const runs = Array.from({ length: 8 }, () => device.run(recording).then(() => handedOver++));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect([fake.count('cuGraphLaunch'), handedOver]).toEqual([9, 3]);
    fake.set('notReady', 0);
    await Promise.all(runs);
    expect((await read(x))[0]).toBe(1);
  });

  it('raises the limit of shared memory where a launch needs it, once', async () => {
    const x = tensor(10);
    const big = (value: number) => ({ ...fill(x, value), shared: 100 * 1024 });
    await device.run(device.recordLaunches([fill(x, 1), big(2), big(5)]));
    expect((await read(x))[0]).toBe(5);
    expect(fake.count('cuFuncSetAttribute')).toBe(1);
    expect(() => device.recordLaunches([{ ...fill(x, 1), shared: 300_000 }])).toThrow(/cannot be made/);
  });

  it('compiles a source once for all of its kernels', async () => {
    const x = tensor(10);
    await device.run(device.recordLaunches([fill(x, 1), add(x, x)]));
    await device.scope().run(device.recordLaunches([add(x, x)]));
    expect(fake.count('cuModuleLoadData')).toBe(1);
    expect((await read(x))[9]).toBe(4);
  });

  it('refuses parameters that are not the kernel’s, and kernels that are not there', async () => {
    const x = tensor(10);
    const swapped = launch('fill', [10, x, 1]);
    await expect(device.run(device.recordLaunches([swapped]))).rejects.toMatchObject({
      code: 'internal',
      details: { takes: '8,4,4', given: '4,8,4' },
    });
    const missing = device.recordLaunches([launch('gone', [])]);
    await expect(device.run(missing)).rejects.toThrow('has no kernel gone');
    expect((await read(x))[0]).toBe(0); // neither harms the device
  });

  it('gives everything back', async () => {
    const x = tensor(3 << 20);
    await device.run(device.scope().recordLaunches([fill(x, 1)]));
    await device.read(x);
    device.destroy();
    device.destroy();
    expect(kinds.map((kind) => [kind, fake.living(kind)])).toEqual(kinds.map((kind) => [kind, 0]));
    await expect(device.read(x)).rejects.toMatchObject({ code: 'device_lost' });
    expect(() => device.tensor(1)).toThrow(expect.objectContaining({ code: 'device_lost' }));
  });

  it('gives the memory of a scope back with it', () => {
    const before = fake.living('memory');
    const scope = device.scope();
    scope.tensor(4 << 20);
    expect(fake.living('memory')).toBeGreaterThan(before);
    scope.destroy();
    expect(fake.living('memory')).toBe(before);
    expect(device.tensor(1).size).toBe(1);
  });

  describe('errors', () => {
    it('has no memory: says so before anything is taken, and goes on', async () => {
      expect(() => device.tensor(1 << 29)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
      expect(fake.count('cuMemAlloc_v2')).toBe(0);
      fake.fail('cuMemAlloc_v2', 2);
      const x = tensor(100); // a smaller chunk than it would have liked
      expect((await read(x))[0]).toBe(0);
      fake.fail('cuMemAlloc_v2', 2);
      expect(() => device.tensor(16 << 20)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
      expect((await read(x))[0]).toBe(0);
    });

    it('is lost in the middle of a run: every later call says so, and whoever waits', async () => {
      const x = tensor(10);
      const recording = device.recordLaunches([fill(x, 1), launch('trap', [])]);
      await device.run(recording);
      const reading = device.read(x);
      await expect(reading).rejects.toMatchObject({ code: 'device_lost', retryable: true });
      expect(await device.lost).toMatchObject({ code: 'device_lost', details: { result: 700 } });
      expect((await device.lost).message).toContain('CUDA_ERROR_ILLEGAL_ADDRESS');
      await expect(device.run(recording)).rejects.toMatchObject({ code: 'device_lost' });
      await expect(device.read(x)).rejects.toMatchObject({ code: 'device_lost' });
      expect(() => device.write(x, new Uint32Array(1))).toThrow(
        expect.objectContaining({ code: 'device_lost' }),
      );
      device.destroy();
      // The next device of this process starts afresh.
      device = createCudaDeviceOn(await open());
      expect((await read(tensor(3)))[2]).toBe(0);
    });

    it('is lost while kernels compile: the run that waits for them says so', async () => {
      const compiled = Promise.withResolvers<Uint8Array>();
      const other = createCudaDeviceOn(await open({ compiler: () => ({ compile: () => compiled.promise }) }));
      const x = other.tensor(10) as CudaTensor;
      const running = other.run(other.recordLaunches([fill(x, 1)]));
      fake.fail('cuMemAlloc_v2', 719);
      expect(() => other.tensor(16 << 20)).toThrow(expect.objectContaining({ code: 'device_lost' }));
      compiled.resolve(image);
      await expect(running).rejects.toMatchObject({ code: 'device_lost' });
      other.destroy();
    });

    it('is destroyed while something waits', async () => {
      const x = tensor(10);
      fake.set('notReady', 1000);
      const reading = device.read(x);
      await new Promise((resolve) => setTimeout(resolve, 5));
      device.destroy();
      await expect(reading).rejects.toMatchObject({
        code: 'device_lost',
        message: 'The device was destroyed.',
      });
    });

    it('says so when the driver does not take a kernel', async () => {
      const foreign = () => ({ compile: () => Promise.resolve(new Uint8Array(64)) });
      const other = createCudaDeviceOn(await open({ compiler: foreign }));
      const x = other.tensor(10) as CudaTensor;
      await expect(other.run(other.recordLaunches([fill(x, 1)]))).rejects.toMatchObject({
        code: 'nonconforming', // so that `auto` goes on to the next
        message: expect.stringContaining('ATOLL_NVRTC') as string,
      });
      other.destroy();
    });
  });

  describe('opening', () => {
    const refused = (gpu?: string) => open(gpu === undefined ? {} : { gpu }).catch((error: unknown) => error);

    it('takes a GPU by number, by UUID or the beginning of one', () => {
      fake.set('devices', 3);
      const gpus = cudaGpus(fake.file);
      expect(gpus.map(({ uuid }) => uuid.slice(0, 8))).toEqual(['GPU-1011', 'GPU-2021', 'MIG-3031']);
      expect([1, '2', 'GPU-2021', 'mig-30'].map((gpu) => chooseGpu(gpus, gpu).index)).toEqual([1, 2, 1, 2]);
      expect(() => chooseGpu(gpus, 'GPU-')).toThrow(/There is no GPU GPU-/);
    });

    it.each([
      ['cuDeviceGetCount', 100, 'nvidia-smi'],
      ['cuInit', 803, 'restart the machine'],
      ['cuInit', 802, 'nvidia-fabricmanager'],
      ['cuInit', 34, 'toolkit'],
      ['cuDevicePrimaryCtxRetain', 46, 'EXCLUSIVE_PROCESS'],
      ['cuInit', 999, '/dev/nvidia0'],
    ])('says what to do where %s gives %i', async (name, code, words) => {
      fake.fail(name, code);
      expect(await refused()).toMatchObject({
        code: 'no_device',
        message: expect.stringContaining(words) as string,
      });
    });

    it('refuses what is not there or too old', async () => {
      expect(await refused('7')).toMatchObject({ code: 'no_device' });
      expect(String(await refused('MIG-1234'))).toContain('CUDA_VISIBLE_DEVICES=MIG-1234');
      fake.set('capability', 75);
      expect(String(await refused())).toContain('8.0 (Ampere) or newer');
    });

    it('says how to get a driver where there is none', async () => {
      const error = await openNativeDriver({ compiler, library: 'libnowhere.so.1' }).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'no_device', retryable: false });
      expect(String(error)).toContain('--gpus all');
    });
  });
});
