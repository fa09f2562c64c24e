/** The compute port over `kernels/`, on the thread it is called from. A backend is what was asked for, or an error; `auto` takes the best there is. */
import {
  type BackendChoice,
  chooseDevice,
  type ChooseOptions,
  type Device,
  executeWorkunit,
  probeDigest,
  programIds,
  runProbe,
} from '#kernels/index.ts';
import type { Compute, ComputeDevice } from './ports.ts';

export type KernelBackend = BackendChoice;

/** Longest that a device on this thread computes before messages, timers and sockets get their turn. */
const yieldMs = 30;

/** `memoryBytes`: what the machine has, where that can be told; it goes into the device's description. */
export function kernelCompute(
  backend: KernelBackend,
  options: Omit<ChooseOptions, 'signal'> = {},
  memoryBytes?: number,
): Compute {
  return {
    async open(signal): Promise<ComputeDevice> {
      const { device: made, why, probe } = await chooseDevice(backend, { ...options, signal });
      const isGpu = made.info.backend === 'webgpu' || made.info.backend === 'cuda';
      const device = isGpu ? made : yielding(made);
      return {
        info: memoryBytes === undefined ? device.info : { ...device.info, memoryBytes },
        why,
        programs: programIds(),
        probeDigest,
        lost: device.lost,
        probe: async () => probe ?? runProbe(device),
        execute: (unit, { blocks, signal: stop, progress }) =>
          executeWorkunit(unit, { device, blocks, signal: stop, progress }),
        close: async () => device.destroy(),
      };
    },
  };
}

/**
 * The reference and WASM compute without ever giving the thread away. Between recordings this one lets messages, timers and sockets in, so that
 * an abort is heard after a step and not after the unit.
 */
function yielding(device: Device, turn = { at: performance.now() }): Device {
  return {
    ...device,
    async run(recording) {
      await device.run(recording);
      if (performance.now() - turn.at < yieldMs) return;
      await new Promise((resolve) => setTimeout(resolve));
      turn.at = performance.now();
    },
    scope: () => yielding(device.scope(), turn),
  };
}
