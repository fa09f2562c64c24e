/** LayerNorm on CUDA, forward and backward. */
import { bitsOf, distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { constant } from '../math/cpu.ts';
import { columnKernel, columnLaunch, rowBlocks, rowKernel, rowLaunch } from '../reduce/cuda.ts';
import gradBody from './layer-norm-grad.cu?raw';
import paramGradBody from './layer-norm-param-grad.cu?raw';
import body from './layer-norm.cu?raw';
import {
  type LayerNormArgs,
  layerNormEps,
  type LayerNormGradArgs,
  type LayerNormParamGradArgs,
} from './spec.ts';

const forwardKernel = rowKernel('layer-norm', [body], 'layer_norm', 1);
const gradKernel = rowKernel('layer-norm-grad', [gradBody], 'layer_norm_grad', 2);
const paramGradKernel = columnKernel('layer-norm-param-grad', paramGradBody);
export const layerNormSources = [
  ...[forwardKernel, gradKernel].flatMap(({ sources }) => sources.map(([, source]) => source)),
  paramGradKernel.wide,
  paramGradKernel.narrow,
];

const inverseBits = (cols: number) => bitsOf(constant(1 / cols));

export function layerNormLaunches(args: LayerNormArgs, context: LaunchContext): Launch[] {
  const { x, gain, bias, y, mean, rstd, rows, cols } = args;
  distinct('layerNorm', [y, mean, rstd], [x, gain, bias]);
  const all = [x, gain, bias, y, mean, rstd, rows, cols, inverseBits(cols), bitsOf(layerNormEps)];
  return [rowLaunch(forwardKernel, rows, cols, all, context)];
}

export function layerNormGradLaunches(args: LayerNormGradArgs, context: LaunchContext): Launch[] {
  const { dy, x, gain, mean, rstd, residual = null, dx, rows, cols } = args;
  distinct('layerNormGrad', [dx], [dy, x, gain, mean, rstd, residual === dx ? null : residual]);
  const all = [dy, x, gain, mean, rstd, residual, dx, rows, cols, inverseBits(cols)];
  return [rowLaunch(gradKernel, rows, cols, all, context)];
}

export function layerNormParamGradLaunches(args: LayerNormParamGradArgs, context: LaunchContext): Launch[] {
  const { dy, x, mean, rstd, dgain, dbias, rows, cols } = args;
  distinct('layerNormParamGrad', [dgain, dbias], [dy, x, mean, rstd]);
  const blocks = rowBlocks(rows);
  const isShort = blocks === 1;
  const gains = isShort ? dgain : context.scratch('layer norm gains', blocks * cols);
  const biases = isShort ? dbias : context.scratch('layer norm biases', blocks * cols);
  const first = [dy, x, mean, rstd, gains, biases, rows, cols];
  const sums = columnLaunch(paramGradKernel, 'layer_norm_param_grad', rows, cols, first, context);
  if (isShort) return [sums];
  const second = [gains, biases, dgain, dbias, blocks, cols];
  return [sums, columnLaunch(paramGradKernel, 'layer_norm_param_grad_end', blocks, cols, second, context)];
}
