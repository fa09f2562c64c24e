/** RMSNorm on CUDA, forward and backward. */
import { bitsOf, distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { layerNormEps } from '../layer-norm/spec.ts';
import { constant } from '../math/cpu.ts';
import { columnKernel, columnLaunch, rowBlocks, rowKernel, rowLaunch } from '../reduce/cuda.ts';
import gradBody from './rms-norm-grad.cu?raw';
import paramGradBody from './rms-norm-param-grad.cu?raw';
import body from './rms-norm.cu?raw';
import type { RmsNormArgs, RmsNormGradArgs, RmsNormParamGradArgs } from './spec.ts';

const forwardKernel = rowKernel('rms-norm', [body], 'rms_norm', 1);
const gradKernel = rowKernel('rms-norm-grad', [gradBody], 'rms_norm_grad', 2);
const paramGradKernel = columnKernel('rms-norm-param-grad', paramGradBody);
export const rmsNormSources = [
  ...[forwardKernel, gradKernel].flatMap(({ sources }) => sources.map(([, source]) => source)),
  paramGradKernel.wide,
  paramGradKernel.narrow,
];

const inverseBits = (cols: number) => bitsOf(constant(1 / cols));

export function rmsNormLaunches(args: RmsNormArgs, context: LaunchContext): Launch[] {
  const { x, gain, y, rstd, rows, cols } = args;
  distinct('rmsNorm', [y, rstd], [x, gain]);
  const all = [x, gain, y, rstd, rows, cols, inverseBits(cols), bitsOf(layerNormEps)];
  return [rowLaunch(forwardKernel, rows, cols, all, context)];
}

export function rmsNormGradLaunches(args: RmsNormGradArgs, context: LaunchContext): Launch[] {
  const { dy, x, gain, rstd, residual = null, dx, rows, cols } = args;
  distinct('rmsNormGrad', [dx], [dy, x, gain, rstd, residual === dx ? null : residual]);
  const all = [dy, x, gain, rstd, residual, dx, rows, cols, inverseBits(cols)];
  return [rowLaunch(gradKernel, rows, cols, all, context)];
}

export function rmsNormParamGradLaunches(args: RmsNormParamGradArgs, context: LaunchContext): Launch[] {
  const { dy, x, rstd, dgain, rows, cols } = args;
  distinct('rmsNormParamGrad', [dgain], [dy, x, rstd]);
  const blocks = rowBlocks(rows);
  const gains = blocks === 1 ? dgain : context.scratch('rms norm gains', blocks * cols);
  const first = [dy, x, rstd, gains, rows, cols];
  const sums = columnLaunch(paramGradKernel, 'rms_norm_param_grad', rows, cols, first, context);
  if (blocks === 1) return [sums];
  const second = [gains, dgain, blocks, cols];
  return [sums, columnLaunch(paramGradKernel, 'rms_norm_param_grad_end', blocks, cols, second, context)];
}
