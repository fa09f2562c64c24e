/** The public entry of `kernels/`: make a device, prove it, run a workunit. */
export { type BackendChoice, chooseDevice, type ChooseOptions, type Chosen } from './device/choose.ts';
export { type BackendName, createDevice, type CreateDeviceOptions } from './device/create.ts';
export { canShareMemory, threadsMax } from './device/wasm-pool.ts';
export type { Device } from './device/device.ts';
export { probeDigest, runProbe } from './device/probe.ts';
export { executeWorkunit, type ExecuteOptions, programIds } from './programs/registry.ts';
