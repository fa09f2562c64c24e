/** TensorFlow.js: matMul. `data()` ends its compute pass, submits and reads back. */
import '@tensorflow/tfjs-backend-webgpu';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import type { GemmTask, Multiplier } from '../../rig/contest.ts';
import { inputs } from '../inputs.ts';

/** On a page that is not isolated its WASM has one thread. */
export async function startTfjs(backend: 'webgpu' | 'wasm'): Promise<void> {
  setWasmPaths('/peers/@tensorflow/tfjs-backend-wasm/dist/');
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no ${backend} here.`);
  await tf.ready();
  if (tf.getBackend() !== backend) throw new Error(`tfjs fell back to ${tf.getBackend()}.`);
}

export async function multiplier(task: GemmTask, backend: 'webgpu' | 'wasm'): Promise<Multiplier> {
  await startTfjs(backend);
  const { M, N, K } = task;
  const { a, b } = inputs(task);
  const left = a.map((x) => tf.tensor(x, [M, K]));
  const right = tf.tensor(b, [K, N]);
  return {
    label: `tfjs ${backend}`,
    async multiply(which) {
      const product = tf.matMul(left[which] as tf.Tensor, right);
      const data = await product.data();
      product.dispose();
      return data;
    },
  };
}
