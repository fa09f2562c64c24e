/** RMSNorm on WebGPU, forward and backward. */
import { bitsOf, distinct, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { layerNormEps } from '../layer-norm/spec.ts';
import { constant } from '../math/cpu.ts';
import { aloneMax, rowGrid, rowKernel, rowShape } from '../reduce/gpu.ts';
import gradBody from './rms-norm-grad.wgsl?raw';
import paramGradBody from './rms-norm-param-grad.wgsl?raw';
import body from './rms-norm.wgsl?raw';
import type { RmsNormArgs, RmsNormGradArgs, RmsNormParamGradArgs } from './spec.ts';

const forwardKernel = rowKernel('rms-norm', body, 'rrww');
const gradKernel = rowKernel('rms-norm-grad', gradBody, 'rrrrrw');
const paramGradKernel = rowKernel('rms-norm-param-grad', paramGradBody, 'rrrw');

const inverseBits = (cols: number) => bitsOf(constant(1 / cols));

export function rmsNormPasses(args: RmsNormArgs, context: PassContext): Pass[] {
  const { x, gain, y, rstd, rows, cols } = args;
  distinct('rmsNorm', [y, rstd], [x, gain]);
  return [
    {
      kernel: forwardKernel,
      buffers: [x, gain, y, rstd],
      uniforms: [rows, cols, inverseBits(cols), bitsOf(layerNormEps)],
      ...rowGrid(rows, rowShape(cols, context)),
    },
  ];
}

export function rmsNormGradPasses(args: RmsNormGradArgs, context: PassContext): Pass[] {
  const { dy, x, gain, rstd, residual, dx, rows, cols } = args;
  const inPlace = residual === dx;
  const other = inPlace ? null : (residual ?? null);
  distinct('rmsNormGrad', [dx], [dy, x, gain, rstd, other]);
  return [
    {
      kernel: gradKernel,
      buffers: [dy, x, gain, rstd, other, dx],
      uniforms: [rows, cols, inverseBits(cols), inPlace ? 1 : other ? 2 : 0],
      ...rowGrid(rows, rowShape(cols, context)),
    },
  ];
}

export function rmsNormParamGradPasses(args: RmsNormParamGradArgs, context: PassContext): Pass[] {
  const { dy, x, rstd, dgain, rows, cols } = args;
  // Neighbouring columns side by side, so that a workgroup reads whole lines of memory.
  const alone = context.software && rows <= aloneMax;
  const shape = alone ? rowShape(rows, context) : { LANES: 16, SLOTS: 16 };
  distinct('rmsNormParamGrad', [dgain], [dy, x, rstd]);
  return [
    {
      kernel: paramGradKernel,
      buffers: [dy, x, rstd, dgain],
      uniforms: [rows, cols],
      ...rowGrid(cols, shape),
    },
  ];
}
