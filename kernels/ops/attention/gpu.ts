/** Causal softmax on WebGPU, forward and backward. */
import { bitsOf, distinct, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import {
  aloneGrid,
  aloneKernel,
  checkRowLength,
  fitsAlone,
  rowGrid,
  rowKernel,
  rowShape,
} from '../reduce/gpu.ts';
import aloneGradBody from './softmax-grad-alone.wgsl?raw';
import gradBody from './softmax-grad.wgsl?raw';
import aloneBody from './softmax-alone.wgsl?raw';
import body from './softmax.wgsl?raw';
import type { SoftmaxArgs, SoftmaxGradArgs } from './spec.ts';

const forwardKernel = rowKernel('softmax', body, 'wr');
const aloneForward = aloneKernel('softmax-alone', aloneBody, 'wr');
const gradKernel = rowKernel('softmax-grad', gradBody, 'rwr');
const aloneGrad = aloneKernel('softmax-grad-alone', aloneGradBody, 'rwr');

export function softmaxPasses(args: SoftmaxArgs, context: PassContext): Pass[] {
  const { scores, batch, rows, cols, offset, position, scale } = args;
  checkRowLength('softmax', cols);
  const alone = fitsAlone(cols, context);
  return [
    {
      kernel: alone ? aloneForward : forwardKernel,
      buffers: [scores, position ?? null],
      uniforms: [batch * rows, rows, cols, offset, bitsOf(scale)],
      ...(alone ? aloneGrid(batch * rows) : rowGrid(batch * rows, rowShape(cols, context))),
    },
  ];
}

export function softmaxGradPasses(args: SoftmaxGradArgs, context: PassContext): Pass[] {
  const { probabilities, gradient, batch, rows, cols, offset, position, scale } = args;
  checkRowLength('softmaxGrad', cols);
  const alone = fitsAlone(cols, context);
  distinct('softmaxGrad', [gradient], [probabilities]);
  return [
    {
      kernel: alone ? aloneGrad : gradKernel,
      buffers: [probabilities, gradient, position ?? null],
      uniforms: [batch * rows, rows, cols, offset, bitsOf(scale)],
      ...(alone ? aloneGrid(batch * rows) : rowGrid(batch * rows, rowShape(cols, context))),
    },
  ];
}
