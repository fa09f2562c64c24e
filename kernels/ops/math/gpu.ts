/** The functions of pf32.wgsl called by themselves: for the conformance suite. Ops have them inlined. */
import { kernel, type Pass } from '../../device/webgpu-pass.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import body from './functions.wgsl?raw';

/** In the order of functions.wgsl. `round` takes hi, lo16 and the exponent. */
export const functionNames = [
  'add',
  'sub',
  'mul',
  'exp',
  'exp2',
  'recip',
  'rsqrt',
  'sqrt',
  'ln',
  'sigmoid',
  'silu',
  'tanh',
  'erf',
  'lowbias32',
  'round',
] as const;
export type FunctionName = (typeof functionNames)[number];

const functionKernel = kernel('functions', body, 'rrrw');

export function functionPass(name: FunctionName, a: Tensor, b: Tensor, c: Tensor, y: Tensor): Pass {
  return {
    kernel: functionKernel,
    constants: { KIND: functionNames.indexOf(name) },
    buffers: [a, b, c, y],
    uniforms: [y.size],
    workgroups: Math.ceil(y.size / 256),
  };
}
