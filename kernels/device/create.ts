/** Makes a device by the name of its backend. There is no silent fall-back: who asks for a GPU gets one or an error. `choose.ts` takes the best there is. */
import { AtollError } from '#protocol/errors.ts';
import { createCpuDevice } from './cpu.ts';
import type { Device } from './device.ts';
import type { TuningPort } from './webgpu-tuning.ts';

/** The backends that are built for this project's own devices; `reference` is for checking, and slow. */
export type BackendName = 'reference' | 'wasm' | 'webgpu' | 'cuda';

export interface CreateDeviceOptions {
  /** Accept a software adapter (SwiftShader, lavapipe): for tests, never faster than the CPU backends. */
  allowSoftware?: boolean;
  /** Use the kernels and workgroup shapes of this kind of adapter whatever the adapter is: for tests. */
  shapes?: 'hardware' | 'software';
  /** Where adapters come from; `navigator.gpu` unless given. */
  gpu?: GPU;
  /** Makes a CUDA device (cuda/create.ts): a function, so that no page loads what only Node can. */
  cuda?: (signal?: AbortSignal) => Promise<Device>;
  /** Threads of a WASM device; 1 unless given. More need shared memory: see `canShareMemory`. */
  threads?: number;
  /** WebGPU by integers where f32 fails the probe: see proven.ts. */
  arithmetic?: 'soft';
  /** Where a real GPU's best shapes are kept from one run to the next; without it they are not tried. */
  tuning?: TuningPort;
  signal?: AbortSignal;
}

/** Throws `no_device` with what to do about it. */
export async function createDevice(backend: BackendName, options: CreateDeviceOptions = {}): Promise<Device> {
  if (backend === 'reference') return createCpuDevice();
  if (backend === 'wasm') {
    const { createWasmDevice } = await import('./wasm.ts');
    const { threads = 1, signal } = options;
    return createWasmDevice({ threads, ...(signal ? { signal } : {}) });
  }
  if (backend === 'cuda') {
    if (options.cuda) return options.cuda(options.signal);
    throw new AtollError('no_device', 'CUDA is for the headless contributor: see `npm run node -- --help`.');
  }
  const gpu = options.gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu) {
    throw new AtollError(
      'no_device',
      'This browser does not offer WebGPU. It is in Chrome and Edge 113+, Safari 26+, and Firefox 141+ on Windows and 145+ on Apple silicon.',
    );
  }
  const { createWebGpuDevice } = await import('./webgpu.ts');
  return createWebGpuDevice({
    gpu,
    allowSoftware: options.allowSoftware ?? false,
    ...(options.shapes ? { shapes: options.shapes } : {}),
    ...(options.tuning ? { tuning: options.tuning } : {}),
    ...(options.arithmetic ? { arithmetic: options.arithmetic } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
}
