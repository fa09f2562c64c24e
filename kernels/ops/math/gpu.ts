/** The functions of pf32.wgsl called by themselves: for the conformance suite. Ops have them inlined. */
import { kernel, type Pass } from '../../device/webgpu-pass.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import body from './functions.wgsl?raw';
import { type FunctionName, functionNames } from './names.ts';

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
