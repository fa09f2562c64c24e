/**
 * The CUDA device on the emulated driver, for tests: `const device = createEmulatedCudaDevice()`, or with `seed` for another order of blocks and
 * threads. Skip where `haveCompiler()` (emulated-compiler.ts) is false. Never offered to a contributor.
 */
import { type CudaDevice, createCudaDeviceOn } from '../device.ts';
import { createEmulatedDriver, type EmulatedOptions } from './emulated-driver.ts';

export { haveCompiler } from './emulated-compiler.ts';

/** Throws `no_device` where there is no compiler. */
export function createEmulatedCudaDevice(options: EmulatedOptions = {}): CudaDevice {
  return createCudaDeviceOn(createEmulatedDriver(options));
}
