/** What the WebGPU device refuses and how it fails: on Dawn's null backend, which validates everything and computes nothing. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { kernel } from './webgpu-pass.ts';
import { createDawnDevice } from './dawn.ts';
import { createWebGpuDevice, type WebGpuDevice } from './webgpu.ts';

let device: WebGpuDevice;
beforeEach(async () => {
  device = await createDawnDevice({ flags: ['backend=null'] });
});
afterEach(() => device.destroy());

const noAdapter = { requestAdapter: async () => null } as unknown as GPU;

describe('opening', () => {
  it('says what to do when there is no adapter', async () => {
    const error = await createWebGpuDevice({ gpu: noAdapter, allowSoftware: true }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'no_device', retryable: false });
    expect(String(error)).toContain('hardware acceleration');
  });

  it('stops when it is no longer wanted', async () => {
    const signal = AbortSignal.abort();
    await expect(createDawnDevice({ flags: ['backend=null'], signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
  });

  it('is told by its adapter', () => {
    expect(device.info).toMatchObject({ backend: 'webgpu', software: false });
  });
});

describe('memory', () => {
  it('refuses what one buffer cannot hold before it allocates', () => {
    expect(() => device.tensor(2 ** 31)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
    expect(() => device.quantized(1, 2 ** 20, 2 ** 12)).toThrow(
      expect.objectContaining({ code: 'out_of_memory' }),
    );
    expect(() => device.tensor(0)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
    // Padding counts: 2^25 rows of one element take 2^27 words.
    expect(() => device.quantized(1, 2 ** 27, 1)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
    expect(device.tensor(1000).size).toBe(1000);
  });

  it('writes only inside a tensor', () => {
    const tensor = device.tensor(4);
    expect(() => device.write(tensor, new Float32Array(4), 1)).toThrow(
      expect.objectContaining({ code: 'bad_input' }),
    );
  });

  it('is freed by scope, and the device goes on', async () => {
    const scope = device.scope();
    const tensor = scope.tensor(4);
    scope.destroy();
    expect(() => scope.tensor(4)).toThrow(expect.objectContaining({ code: 'device_lost' }));
    await expect(scope.read(tensor)).rejects.toMatchObject({ code: 'device_lost' });
    expect(await device.read(device.tensor(4))).toHaveLength(4);
  });
});

describe('recording', () => {
  const half = 0.5;

  it('refuses outputs that are inputs where it has no variant for that', () => {
    const [x, y] = [device.tensor(8), device.tensor(8)];
    const refuse = (build: Parameters<WebGpuDevice['record']>[0]) =>
      expect(() => device.record(build)).toThrow(expect.objectContaining({ code: 'bad_input' }));
    refuse((ops) => ops.gelu({ x, y: x, size: 8 }));
    refuse((ops) => ops.nesterov({ p: x, momentum: x, delta: y, size: 8, lr: half, mu: half }));
    const shape = { batch: 2, rows: 2, cols: 2, offset: 0, scale: half };
    refuse((ops) => ops.softmaxGrad({ probabilities: x, gradient: x, ...shape }));
  });

  it('refuses constants that devices would round differently', () => {
    const x = device.tensor(8);
    for (const factor of [0.1, 1e-40, -0, Number.POSITIVE_INFINITY, Number.NaN]) {
      expect(() =>
        device.record((ops) => ops.elementwise({ kind: 'scale', factor, a: x, dst: x, size: 8 })),
      ).toThrow(expect.objectContaining({ code: 'bad_input' }));
    }
  });

  it('runs an empty recording', async () => {
    await device.run(device.record(() => {}));
  });

  it('says which kernel does not compile, and fails from then on', async () => {
    const broken = kernel('broken', 'fn main() -> nonsense {}', 'w');
    const tensor = device.tensor(4);
    const pass = { kernel: broken, buffers: [tensor], uniforms: [1], workgroups: 1 };
    const recording = device.recordPasses([pass]);
    await expect(device.run(recording)).rejects.toThrow("unresolved type 'nonsense'");
    await expect(device.read(tensor)).rejects.toMatchObject({ code: 'internal' });
  });

  it('turns a command that the GPU refuses into an error of the next call that waits', async () => {
    const tooFew = kernel('wrong', '@compute @workgroup_size(1) fn main() { z = zero[0]; }', 'ww');
    const same = device.tensor(4);
    const pass = { kernel: tooFew, buffers: [same, same], uniforms: [1], workgroups: 1 };
    await device.run(device.recordPasses([pass]));
    await expect(device.read(same)).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('a loss', () => {
  /** Dawn's null backend, with the device that it hands out kept for the test to destroy. */
  async function losable(): Promise<{ device: WebGpuDevice; lose: () => void }> {
    const { create } = await import('webgpu');
    const gpu = create(['backend=null']);
    let raw: GPUDevice | undefined;
    const requestDevice = async (adapter: GPUAdapter, descriptor?: GPUDeviceDescriptor) =>
      (raw = await adapter.requestDevice(descriptor));
    const requestAdapter = async () => {
      const adapter = (await gpu.requestAdapter()) as GPUAdapter;
      const { info, limits, features } = adapter;
      return { info, limits, features, requestDevice: requestDevice.bind(null, adapter) };
    };
    const kept = { requestAdapter, keep: gpu } as unknown as GPU;
    const made = await createWebGpuDevice({ gpu: kept, allowSoftware: true });
    return { device: made, lose: () => raw?.destroy() };
  }

  it('in the middle of a run is a typed error that can be tried again, of everything that waits', async () => {
    const { device: own, lose } = await losable();
    const [x, y] = [own.tensor(1 << 16), own.tensor(1 << 16)];
    const recording = own.record((ops) => ops.gelu({ x, y, size: x.size }));
    await own.run(recording);
    const running = [own.run(recording), own.read(y)];
    lose();
    const outcomes = await Promise.allSettled(running);
    expect(await own.lost).toMatchObject({ code: 'device_lost', retryable: true });
    // What was handed over before the loss may still come; what did not says why.
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'device_lost' });
    }
    await expect(own.run(recording)).rejects.toMatchObject({ code: 'device_lost', retryable: true });
    await expect(own.read(y)).rejects.toMatchObject({ code: 'device_lost', retryable: true });
    expect(() => own.tensor(4)).toThrow(expect.objectContaining({ code: 'device_lost' }));
  });

  it('while pipelines compile is the same error', async () => {
    const { device: own, lose } = await losable();
    const [x, y] = [own.tensor(8), own.tensor(8)];
    const running = own.run(own.record((ops) => ops.gelu({ x, y, size: 8 })));
    lose();
    await expect(running.then(() => own.read(y))).rejects.toMatchObject({ code: 'device_lost' });
  });
});

it('does not call its own end a loss', async () => {
  const other = await createDawnDevice({ flags: ['backend=null'] });
  let lost = false;
  void other.lost.then(() => (lost = true));
  other.destroy();
  await device.read(device.tensor(4));
  expect(lost).toBe(false);
  await expect(other.read(device.tensor(4))).rejects.toMatchObject({ code: 'device_lost' });
});
