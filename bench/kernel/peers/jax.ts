/** jax-js: a jitted product. It is lazy, so `data()` is what makes it compute. */
import { defaultDevice, init, jit, numpy as np } from '@jax-js/jax';
import type { GemmTask, Multiplier } from '../../rig/contest.ts';
import { inputs } from '../inputs.ts';

export async function multiplier(task: GemmTask, backend: 'webgpu' | 'wasm'): Promise<Multiplier> {
  const devices = await init(backend);
  if (!devices.includes(backend)) throw new Error(`jax-js has no ${backend} here.`);
  defaultDevice(backend);
  const { M, N, K } = task;
  const { a, b } = inputs(task);
  const left = a.map((x) => np.array(x).reshape([M, K]));
  const right = np.array(b).reshape([K, N]);
  const product = jit(np.dot);
  return {
    label: `jax-js ${backend}`,
    multiply: (which) => product((left[which] as typeof right).ref, right.ref).data(),
  };
}
