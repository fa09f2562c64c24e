/** Causal softmax on CUDA, forward and backward. */
import { bitsOf, distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { rowKernel, rowLaunch } from '../reduce/cuda.ts';
import causal from './causal.cuh?raw';
import gradBody from './softmax-grad.cu?raw';
import body from './softmax.cu?raw';
import type { SoftmaxArgs, SoftmaxGradArgs } from './spec.ts';

const forwardKernel = rowKernel('softmax', [causal, body], 'softmax', 1);
const gradKernel = rowKernel('softmax-grad', [causal, gradBody], 'softmax_grad', 2);
export const softmaxSources = [forwardKernel, gradKernel].flatMap(({ sources }) =>
  sources.map(([, source]) => source),
);

export function softmaxLaunches(args: SoftmaxArgs, context: LaunchContext): Launch[] {
  const { scores, batch, rows, cols, offset, position = null, scale } = args;
  const all = [scores, position, batch * rows, rows, cols, offset, bitsOf(scale)];
  return [rowLaunch(forwardKernel, batch * rows, cols, all, context)];
}

export function softmaxGradLaunches(args: SoftmaxGradArgs, context: LaunchContext): Launch[] {
  const { probabilities, gradient, batch, rows, cols, offset, position = null, scale } = args;
  distinct('softmaxGrad', [gradient], [probabilities]);
  const all = [probabilities, gradient, position, batch * rows, rows, cols, offset, bitsOf(scale)];
  return [rowLaunch(gradKernel, batch * rows, cols, all, context)];
}
