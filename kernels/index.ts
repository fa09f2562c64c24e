/** The public entry of `kernels/`: make a device, prove it, run a workunit. */
export { createDevice, type CreateDeviceOptions } from './device/create.ts';
export type { Device } from './device/device.ts';
export { probeDigest, runProbe } from './device/probe.ts';
export { executeWorkunit, type ExecuteOptions, programIds } from './programs/registry.ts';
