/** Causal softmax on WebGPU, forward and backward. */
import { bitsOf, distinct, type Pass } from '../../device/webgpu-pass.ts';
import { checkRowLength, rowKernel } from '../reduce/gpu.ts';
import gradBody from './softmax-grad.wgsl?raw';
import body from './softmax.wgsl?raw';
import type { SoftmaxArgs, SoftmaxGradArgs } from './spec.ts';

const forwardKernel = rowKernel('softmax', body, 'w');
const gradKernel = rowKernel('softmax-grad', gradBody, 'rw');

export function softmaxPasses({ scores, batch, T, scale }: SoftmaxArgs): Pass[] {
  checkRowLength('softmax', T);
  const rows = batch * T;
  return [{ kernel: forwardKernel, buffers: [scores], uniforms: [rows, T, bitsOf(scale)], workgroups: rows }];
}

export function softmaxGradPasses(args: SoftmaxGradArgs): Pass[] {
  const { probabilities, gradient, batch, T, scale } = args;
  checkRowLength('softmaxGrad', T);
  distinct('softmaxGrad', [gradient], [probabilities]);
  const rows = batch * T;
  return [
    {
      kernel: gradKernel,
      buffers: [probabilities, gradient],
      uniforms: [rows, T, bitsOf(scale)],
      workgroups: rows,
    },
  ];
}
