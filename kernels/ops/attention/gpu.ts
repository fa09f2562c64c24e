/** Causal softmax on WebGPU, forward and backward. */
import { bitsOf, distinct, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { checkRowLength, rowGrid, rowKernel, rowShape } from '../reduce/gpu.ts';
import gradBody from './softmax-grad.wgsl?raw';
import body from './softmax.wgsl?raw';
import { checkSoftmax, type SoftmaxArgs, type SoftmaxGradArgs } from './spec.ts';

const forwardKernel = rowKernel('softmax', body, 'wr');
const gradKernel = rowKernel('softmax-grad', gradBody, 'rwr');

export function softmaxPasses(args: SoftmaxArgs, context: PassContext): Pass[] {
  const { scores, batch, rows, cols, offset, position, scale } = args;
  checkSoftmax(args, scores);
  checkRowLength('softmax', cols);
  return [
    {
      kernel: forwardKernel,
      buffers: [scores, position ?? null],
      uniforms: [batch * rows, rows, cols, offset, bitsOf(scale)],
      ...rowGrid(batch * rows, rowShape(cols, context)),
    },
  ];
}

export function softmaxGradPasses(args: SoftmaxGradArgs, context: PassContext): Pass[] {
  const { probabilities, gradient, batch, rows, cols, offset, position, scale } = args;
  checkSoftmax(args, probabilities, gradient);
  checkRowLength('softmaxGrad', cols);
  distinct('softmaxGrad', [gradient], [probabilities]);
  return [
    {
      kernel: gradKernel,
      buffers: [probabilities, gradient, position ?? null],
      uniforms: [batch * rows, rows, cols, offset, bitsOf(scale)],
      ...rowGrid(batch * rows, rowShape(cols, context)),
    },
  ];
}
