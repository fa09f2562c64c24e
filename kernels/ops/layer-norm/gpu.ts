/** LayerNorm on WebGPU, forward and backward. */
import { bitsOf, distinct, kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { constant } from '../math/cpu.ts';
import {
  aloneGrid,
  aloneKernel,
  aloneMax,
  fitsAlone,
  checkRowLength,
  rowGrid,
  rowKernel,
  rowShape,
} from '../reduce/gpu.ts';
import aloneGradBody from './layer-norm-grad-alone.wgsl?raw';
import gradBody from './layer-norm-grad.wgsl?raw';
import aloneParamGradBody from './layer-norm-param-grad-alone.wgsl?raw';
import paramGradBody from './layer-norm-param-grad.wgsl?raw';
import aloneBody from './layer-norm-alone.wgsl?raw';
import body from './layer-norm.wgsl?raw';
import {
  type LayerNormArgs,
  layerNormEps,
  type LayerNormGradArgs,
  type LayerNormParamGradArgs,
} from './spec.ts';

const forwardKernel = rowKernel('layer-norm', body, 'rrrwww');
const aloneForward = aloneKernel('layer-norm-alone', aloneBody, 'rrrwww');
const gradKernel = rowKernel('layer-norm-grad', gradBody, 'rrrrrrw');
const aloneGrad = aloneKernel('layer-norm-grad-alone', aloneGradBody, 'rrrrrrw');
const aloneParamGrad = kernel('layer-norm-param-grad-alone', aloneParamGradBody, 'rrrrww');
const paramGradKernel = rowKernel('layer-norm-param-grad', paramGradBody, 'rrrrww');

const inverseBits = (cols: number) => bitsOf(constant(1 / cols));

export function layerNormPasses(args: LayerNormArgs, context: PassContext): Pass[] {
  const { x, gain, bias, y, mean, rstd, rows, cols } = args;
  checkRowLength('layerNorm', cols);
  distinct('layerNorm', [y, mean, rstd], [x, gain, bias]);
  const alone = fitsAlone(cols, context);
  return [
    {
      kernel: alone ? aloneForward : forwardKernel,
      buffers: [x, gain, bias, y, mean, rstd],
      uniforms: [rows, cols, inverseBits(cols), bitsOf(layerNormEps)],
      ...(alone ? aloneGrid(rows) : rowGrid(rows, rowShape(cols, context))),
    },
  ];
}

export function layerNormGradPasses(args: LayerNormGradArgs, context: PassContext): Pass[] {
  const { dy, x, gain, mean, rstd, residual, dx, rows, cols } = args;
  const inPlace = residual === dx;
  const other = inPlace ? null : (residual ?? null);
  checkRowLength('layerNormGrad', cols);
  const alone = fitsAlone(cols, context);
  distinct('layerNormGrad', [dx], [dy, x, gain, mean, rstd, other]);
  return [
    {
      kernel: alone ? aloneGrad : gradKernel,
      buffers: [dy, x, gain, mean, rstd, other, dx],
      uniforms: [rows, cols, inverseBits(cols), inPlace ? 1 : other ? 2 : 0],
      ...(alone ? aloneGrid(rows) : rowGrid(rows, rowShape(cols, context))),
    },
  ];
}

export function layerNormParamGradPasses(args: LayerNormParamGradArgs, context: PassContext): Pass[] {
  const { dy, x, mean, rstd, dgain, dbias, rows, cols } = args;
  checkRowLength('layerNormParamGrad', rows);
  distinct('layerNormParamGrad', [dgain, dbias], [dy, x, mean, rstd]);
  const short = context.software && rows <= aloneMax;
  const alone = short && cols % 4 === 0;
  // Neighbouring columns side by side, so that a workgroup reads whole lines of memory.
  const shape = short ? rowShape(rows, context) : { LANES: 16, SLOTS: 16 };
  return [
    {
      kernel: alone ? aloneParamGrad : paramGradKernel,
      buffers: [dy, x, mean, rstd, dgain, dbias],
      uniforms: [rows, cols],
      ...(alone ? aloneGrid(cols / 4) : rowGrid(cols, shape)),
    },
  ];
}
