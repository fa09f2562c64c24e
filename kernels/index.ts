/**
 * The public entry of `kernels/`: make a device, prove it, run a workunit; load a model and generate text.
 *
 * Every result is the same bits on every device. Example: examples/ of the repository.
 */
export { type BackendChoice, chooseDevice, type ChooseOptions, type Chosen } from './device/choose.ts';
export { type BackendName, createDevice, type CreateDeviceOptions } from './device/create.ts';
export { canShareMemory, threadsMax } from './device/wasm-pool.ts';
export type { Device } from './device/device.ts';
export type { TuningPort } from './device/webgpu-tuning.ts';
export { probeDigest, runProbe } from './device/probe.ts';
export { type PlainTraining, trainStepsFrom } from './programs/train-steps/params.ts';
export { executeWorkunit, type ExecuteOptions, programIds } from './programs/registry.ts';
export { type GenerateOptions, Generator, weightsFrom, type WeightSource } from './model/generate.ts';
export { Gpt, type GptOptions, type Optimiser, type StepScalars } from './model/gpt.ts';
export { initialCheckpoint, initialWeights } from './model/init.ts';
export { type ParameterSpec, parameterCount, parameterLayout } from './model/layout.ts';
export { StoredCheckpoint } from './model/training-state.ts';
