/**
 * The CUDA device on the emulated driver, for tests: `const device = createEmulatedCudaDevice()`, or with `seed` for another order of blocks and
 * threads, or `checked` to find races and accesses outside of tensors. Skip where `haveCompiler()` (emulated-compiler.ts) is false. Never offered to a
 * contributor.
 */
import type { Blocks } from '../arena.ts';
import { type CudaDevice, createCudaDeviceOn } from '../device.ts';
import { createEmulatedDriver, type EmulatedDriver, type EmulatedOptions } from './emulated-driver.ts';

export { haveCompiler } from './emulated-compiler.ts';

/** Throws `no_device` where there is no compiler. */
export function createEmulatedCudaDevice(options: EmulatedOptions = {}): CudaDevice {
  const driver = createEmulatedDriver(options);
  return options.checked ? createCudaDeviceOn(driver, oneByOne(driver)) : createCudaDeviceOn(driver);
}

/** Every tensor an allocation of its own, so that the driver sees what lies outside of it. */
function oneByOne(driver: EmulatedDriver): Blocks {
  return {
    allocate(bytes) {
      const address = driver.allocate(bytes);
      driver.zero(address, bytes);
      return address;
    },
    release: (address) => driver.release(address),
  };
}
