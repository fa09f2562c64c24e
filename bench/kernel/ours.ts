/** Ours: f32 bits in, both operands quantised, multiplied exactly, rounded, f32 bits out. One recording for each A. */
import type { Device } from '#kernels/device/device.ts';
import { createWasmDevice } from '#kernels/device/wasm.ts';
import { createWebGpuDevice } from '#kernels/device/webgpu.ts';
import { precisionOf } from '#kernels/model/policy.ts';
import { matrix } from '#kernels/tensor/tensor.ts';
import type { GemmTask, Multiplier } from '../rig/contest.ts';
import { inputs, transposed } from './inputs.ts';

/** `repeat` hands over that many products and reads nothing. */
export type OwnMultiplier = Multiplier & { repeat(count: number): Promise<void> };

export async function multiplier(task: GemmTask, backend: 'webgpu' | 'wasm'): Promise<Multiplier> {
  return multiplierOn(await deviceOf(backend), task);
}

export function deviceOf(backend: 'webgpu' | 'wasm'): Promise<Device> {
  return backend === 'wasm'
    ? createWasmDevice({ threads: 1 })
    : createWebGpuDevice({ gpu: navigator.gpu, allowSoftware: true });
}

/** B lies as weights do here, [N, K]: the peers get theirs as [K, N], which is what suits them. */
export function multiplierOn(device: Device, task: GemmTask): OwnMultiplier {
  const { M, N, K, policy = 'i10sr' } = task;
  const { nb } = precisionOf[policy];
  const { a, b } = inputs(task);
  const upload = (words: Float32Array) => {
    const tensor = device.tensor(words.length);
    device.write(tensor, words);
    return tensor;
  };
  const w = upload(transposed(b, K, N));
  const dst = device.tensor(M * N);
  const [qa, qw] = [device.quantized(1, M, K), device.quantized(1, N, K)];
  const recordings = a.map((x) => {
    const source = upload(x);
    return device.record((ops) => {
      ops.quantize({ src: matrix(source, M, K), dst: qa, nb });
      ops.quantize({ src: matrix(w, N, K), dst: qw, nb });
      ops.gemm({ a: qa, b: qw, dst: matrix(dst, M, N), nb });
    });
  });
  return {
    label: device.info.label,
    async multiply(which) {
      await device.run(recordings[which] as (typeof recordings)[0]);
      return device.read(dst);
    },
    async repeat(count) {
      for (let i = 0; i < count; i++) await device.run(recordings[i & 1] as (typeof recordings)[0]);
    },
  };
}
