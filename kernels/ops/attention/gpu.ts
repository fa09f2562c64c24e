/** Causal softmax on WebGPU, forward and backward. */
import { bitsOf, distinct, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { checkRowLength, rowGrid, rowKernel, rowShape } from '../reduce/gpu.ts';
import gradBody from './softmax-grad.wgsl?raw';
import body from './softmax.wgsl?raw';
import type { SoftmaxArgs, SoftmaxGradArgs } from './spec.ts';

const forwardKernel = rowKernel('softmax', body, 'w');
const gradKernel = rowKernel('softmax-grad', gradBody, 'rw');

export function softmaxPasses({ scores, batch, T, scale }: SoftmaxArgs, context: PassContext): Pass[] {
  checkRowLength('softmax', T);
  const rows = batch * T;
  return [
    {
      kernel: forwardKernel,
      buffers: [scores],
      uniforms: [rows, T, bitsOf(scale)],
      ...rowGrid(rows, rowShape(T, context)),
    },
  ];
}

export function softmaxGradPasses(args: SoftmaxGradArgs, context: PassContext): Pass[] {
  const { probabilities, gradient, batch, T, scale } = args;
  checkRowLength('softmaxGrad', T);
  distinct('softmaxGrad', [gradient], [probabilities]);
  const rows = batch * T;
  return [
    {
      kernel: gradKernel,
      buffers: [probabilities, gradient],
      uniforms: [rows, T, bitsOf(scale)],
      ...rowGrid(rows, rowShape(T, context)),
    },
  ];
}
