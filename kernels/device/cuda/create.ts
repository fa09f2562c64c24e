/**
 * The CUDA device of this machine: NVIDIA's driver, NVRTC for its kernels, a folder for what was compiled. For Node only; a node hands this to `chooseDevice`
 * as a function, so that no page ever loads it.
 */
import { AtollError } from '#protocol/errors.ts';
import { cacheKey, CubinCache } from './cache.ts';
import { type CudaDevice, createCudaDeviceOn } from './device.ts';
import type { CudaGpu } from './native-devices.ts';
import { type CudaCompiler, openNativeDriver } from './native-driver.ts';
import { architectureOf, compilerFlags, findNvrtc } from './nvrtc.ts';

export interface CudaDeviceOptions {
  /** Number or UUID of the GPU (or MIG slice); the first that the driver shows unless given. */
  gpu?: string | number;
  /** NVRTC's file or folder; searched for unless given. */
  nvrtc?: string;
  /** Where compiled kernels are kept; nowhere unless given. */
  cacheDir?: string;
  /** Told when that folder does not take a file. */
  warn?: (error: unknown) => void;
  signal?: AbortSignal;
}

/** Throws `no_device` with what to do about it, `out_of_memory`, or `cancelled`. */
export async function createCudaDevice(options: CudaDeviceOptions = {}): Promise<CudaDevice> {
  const { gpu, signal } = options;
  checkSignal(signal);
  const driver = await openNativeDriver({
    ...(gpu === undefined ? {} : { gpu }),
    compiler: (chosen, driverVersion) => compilerFor(chosen, driverVersion, options),
  });
  if (signal?.aborted) driver.destroy();
  checkSignal(signal);
  return createCudaDeviceOn(driver);
}

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AtollError('cancelled', 'The device is no longer wanted.');
}

/** NVRTC behind the cache. Throws `no_device` where there is no NVRTC for this GPU and driver. */
export function compilerFor(
  { name, capability }: Pick<CudaGpu, 'name' | 'capability'>,
  driverVersion: number,
  { nvrtc: own, cacheDir, warn }: Pick<CudaDeviceOptions, 'nvrtc' | 'cacheDir' | 'warn'>,
): CudaCompiler {
  const nvrtc = findNvrtc(driverVersion, own ? { ...process.env, ATOLL_NVRTC: own } : process.env);
  const architecture = architectureOf(nvrtc, capability);
  if (!architecture) {
    throw new AtollError(
      'no_device',
      `NVRTC ${nvrtc.version} (${nvrtc.file}) makes no code for ${name}. Install an older one and name it by ATOLL_NVRTC.`,
    );
  }
  const cache = cacheDir === undefined ? null : new CubinCache(cacheDir, warn);
  const compiler = `NVRTC ${nvrtc.version} ${compilerFlags.join(' ')}`;
  return {
    async compile(source, signal) {
      const key = cacheKey(source, architecture, compiler);
      const kept = await cache?.get(key);
      if (kept) return kept;
      signal.throwIfAborted();
      const image = await nvrtc.compile(source, architecture);
      await cache?.put(key, image);
      return image;
    },
  };
}
