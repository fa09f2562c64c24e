/** onnxruntime-web on WASM, one thread: a graph of one MatMul. It copies its inputs into its memory at each run, as its interface has it. */
import * as ort from 'onnxruntime-web/wasm';
import type { GemmTask, Multiplier } from '../../rig/contest.ts';
import { matMulModel } from '../../onnx/mat-mul.ts';
import { inputs } from '../inputs.ts';

export async function multiplier(task: GemmTask): Promise<Multiplier> {
  const { M, N, K } = task;
  ort.env.wasm.wasmPaths = '/peers/onnxruntime-web/dist/';
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(matMulModel(task), { executionProviders: ['wasm'] });
  const { a, b } = inputs(task);
  const left = a.map((x) => new ort.Tensor('float32', x, [M, K]));
  const right = new ort.Tensor('float32', b, [K, N]);
  return {
    label: 'onnxruntime-web wasm',
    async multiply(which) {
      const { c } = await session.run({ a: left[which] as ort.Tensor, b: right });
      return (c as ort.Tensor).data as Float32Array;
    },
  };
}
