/** The device that a node of these settings would compute on, opened for a trial: its probe, and the training of a small model for a second or two. */
import type { Hex } from 'viem';
import {
  type Chosen,
  chooseDevice,
  type Device,
  Gpt,
  initialWeights,
  probeDigest,
  runProbe,
} from '#kernels/index.ts';
import { findNvrtc } from '#kernels/device/cuda/nvrtc.ts';
import { openCudaApi } from '#kernels/device/cuda/native-api.ts';
import { chooseGpu, cudaGpus } from '#kernels/device/cuda/native-devices.ts';
import type { Config } from '../config.ts';
import { nodeCuda } from '../node-cuda.ts';
import { nodeGpu } from '../node-gpu.ts';
import type { DevicePorts } from './device.ts';

export interface DeviceOnTrial {
  label: string;
  /** What computes and why nothing better does, in full sentences. */
  why: string;
  /** What a conforming device's probe gives. */
  expected: Hex;
  probe(): Promise<Hex>;
  tokensPerSecond(): Promise<number>;
  close(): Promise<void>;
}

const model = { L: 2, C: 64, NH: 4, T: 64, V: 256 };
const batch = 8;
const trialMs = 1_500;
const stepsMax = 200;

export function realDevices(config: Config): DevicePorts {
  const { gpu, nvrtc, kernelDir, backend, allowSoftware, threads } = config;
  const cuda = nodeCuda(
    { kernelDir, ...(gpu ? { gpu } : {}), ...(nvrtc ? { nvrtc } : {}) },
    () => {}, // a folder that cannot be written has a check of its own
  );
  return {
    async cuda(wanted) {
      const { name } = chooseGpu(cudaGpus(), wanted ?? 0);
      return { name, driverVersion: openCudaApi().version };
    },
    nvrtc: async (driverVersion, given) =>
      findNvrtc(driverVersion, given === null ? process.env : { ...process.env, ATOLL_NVRTC: given }),
    open: async (signal) =>
      onTrial(await chooseDevice(backend, { allowSoftware, threads, gpu: nodeGpu, cuda, signal })),
  };
}

export function onTrial({ device, why, probe }: Chosen): DeviceOnTrial {
  return {
    label: device.info.label,
    why,
    expected: probeDigest,
    probe: async () => probe ?? runProbe(device),
    tokensPerSecond: () => trainingSpeed(device.scope()),
    close: async () => device.destroy(),
  };
}

/** Tokens a second; the first step compiles and does not count. */
async function trainingSpeed(device: Device): Promise<number> {
  const gpt = new Gpt(device, model, batch, 'i10sr', true);
  gpt.load(initialWeights(model, 1));
  const bits = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0] as number;
  const [beta1, beta2, eps, weightDecay] = [bits(0.9), bits(0.95), bits(1e-8), bits(0.1)];
  const recording = gpt.recordStep({ beta1, beta2, eps, weightDecay });
  const tokens = Uint8Array.from({ length: batch * (model.T + 1) }, (_, i) => (i * 7) % 256);
  const step = async (seed: number) => {
    gpt.setTokens(tokens);
    gpt.setScalars({ seed, lr: bits(0.001), bias1: bits(1), bias2: bits(1) });
    await device.run(recording);
    await gpt.readLoss();
  };
  await step(0);
  const beganAt = performance.now();
  let steps = 0;
  while (steps < stepsMax && performance.now() - beganAt < trialMs) await step(++steps);
  const seconds = (performance.now() - beganAt) / 1000;
  device.destroy();
  return (steps * batch * model.T) / seconds;
}
