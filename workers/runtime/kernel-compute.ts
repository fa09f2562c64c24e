/** The compute port over `kernels/`, on the thread it is called from. A backend is what was asked for, or an error. */
import {
  createDevice,
  type CreateDeviceOptions,
  type Device,
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
      const made = await createDevice(backend, { ...options, signal });
      const device = backend === 'reference' ? yielding(made) : made;
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

/**
 * The reference device computes without ever giving the thread away. Between recordings this one lets messages, timers and sockets in, so that
 * an abort is heard after a step and not after the unit.
 */
function yielding(device: Device): Device {
  return {
    ...device,
    async run(recording) {
      await device.run(recording);
      await new Promise((resolve) => setTimeout(resolve));
    },
    scope: () => yielding(device.scope()),
  };
}
