/**
 * Examines one backend in a process of its own and tells it in lines of JSON: `node --import ./scripts/raw-hooks.ts scripts/conformance/node-entry.ts OPTIONS`.
 * For Dawn, which takes its driver from the environment that a process was started with.
 */
import { hostConformance, type HostOptions } from '#kernels/device/conformance-host.ts';
import { createCudaDevice } from '#kernels/device/cuda/create.ts';
import { createEmulatedCudaDevice } from '#kernels/device/cuda/testing/emulated-device.ts';

export interface NodeHostOptions extends HostOptions {
  /** CUDA's kernels by g++ on the processor, in place of a GPU. */
  emulated?: boolean;
}

const { emulated = false, ...options } = JSON.parse(process.argv[2] ?? '{}') as NodeHostOptions;

async function dawn(): Promise<GPU> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  return create([]);
}

// Dawn lives as long as this object: it is held by the module.
const gpu = options.backend === 'webgpu' ? await dawn() : undefined;
const cuda = emulated ? async () => createEmulatedCudaDevice() : () => createCudaDevice();
await hostConformance(options, { ...(gpu ? { gpu } : {}), cuda }, (message) =>
  process.stdout.write(`${JSON.stringify(message)}\n`),
);
