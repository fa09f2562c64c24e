/** The compute port over `kernels/`, on the thread it is called from. A backend is what was asked for, or an error. */
import {
  createDevice,
  type CreateDeviceOptions,
  executeWorkunit,
  probeDigest,
  programIds,
  runProbe,
} from '#kernels/index.ts';
import type { Compute, ComputeDevice } from './ports.ts';

export type KernelBackend = 'reference' | 'webgpu';

export function kernelCompute(
  backend: KernelBackend,
  options: Omit<CreateDeviceOptions, 'signal'> = {},
): Compute {
  return {
    async open(signal): Promise<ComputeDevice> {
      const device = await createDevice(backend, { ...options, signal });
      return {
        info: device.info,
        programs: programIds(),
        probeDigest,
        lost: device.lost,
        probe: () => runProbe(device),
        execute: (unit, { blocks, signal: stop, progress }) =>
          executeWorkunit(unit, { device, blocks, signal: stop, progress }),
        close: async () => device.destroy(),
      };
    },
  };
}
