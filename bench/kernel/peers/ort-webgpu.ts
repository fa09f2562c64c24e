/** onnxruntime-web on WebGPU: a graph of one MatMul; both operands stay in GPU buffers, the result is downloaded. */
import * as ort from 'onnxruntime-web/webgpu';
import type { GemmTask, Multiplier } from '../../rig/contest.ts';
import { matMulModel } from '../../onnx/mat-mul.ts';
import { inputs } from '../inputs.ts';

export async function multiplier(task: GemmTask): Promise<Multiplier> {
  const { M, N, K } = task;
  ort.env.wasm.wasmPaths = '/peers/onnxruntime-web/dist/';
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(matMulModel(task), {
    executionProviders: ['webgpu'],
    preferredOutputLocation: 'gpu-buffer',
  });
  const device = await ort.env.webgpu.device;
  const upload = (words: Float32Array, dims: number[]) => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: words.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, words.buffer as ArrayBuffer);
    return ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims });
  };
  const { a, b } = inputs(task);
  const left = a.map((x) => upload(x, [M, K]));
  const right = upload(b, [K, N]);
  return {
    label: 'onnxruntime-web webgpu',
    async multiply(which) {
      const { c } = await session.run({ a: left[which] as ort.Tensor, b: right });
      const output = c as ort.Tensor;
      const data = await output.getData();
      output.dispose();
      return data;
    },
  };
}
