/**
 * The WebGPU device under Node, by Dawn (npm `webgpu`). Node only; the package is loaded when it is asked for.
 *
 * Dawn takes its Vulkan loader and driver from the environment that the process was started with (LD_LIBRARY_PATH, VK_DRIVER_FILES).
 */
import { AtollError } from '#protocol/errors.ts';
import type { Arithmetic } from './webgpu-prelude.ts';
import type { TuningPort } from './webgpu-tuning.ts';
import { createWebGpuDevice, type WebGpuDevice } from './webgpu.ts';

export interface DawnOptions {
  allowSoftware?: boolean;
  shapes?: 'hardware' | 'software';
  arithmetic?: Arithmetic | { wgsl: string };
  /** Dawn's own options, such as `backend=null`. */
  flags?: readonly string[];
  tuning?: TuningPort;
  gemm?: string;
  without?: 'subgroups';
  signal?: AbortSignal;
}

/** Dawn lives as long as the object that `create` returned: kept here until its device is destroyed. */
const instances = new Set<GPU>();

/** Throws `no_device` with what to do about it. */
export async function createDawnDevice(options: DawnOptions = {}): Promise<WebGpuDevice> {
  const { create } = await import('webgpu').catch((error: unknown) => {
    throw new AtollError('no_device', 'Dawn is not here: install the npm package `webgpu`.', {
      cause: error,
    });
  });
  const gpu = create([...(options.flags ?? [])]);
  const { flags: _, ...wanted } = options;
  const device = await createWebGpuDevice({ gpu, ...wanted, allowSoftware: options.allowSoftware ?? false });
  instances.add(gpu);
  const { destroy } = device;
  device.destroy = () => {
    destroy();
    instances.delete(gpu);
  };
  return device;
}
