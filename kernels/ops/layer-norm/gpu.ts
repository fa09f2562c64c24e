/** LayerNorm on WebGPU, forward and backward. */
import { bitsOf, distinct, kernel, type Pass } from '../../device/webgpu-pass.ts';
import { constant } from '../math/cpu.ts';
import { checkRowLength, rowKernel } from '../reduce/gpu.ts';
import gradBody from './layer-norm-grad.wgsl?raw';
import paramGradBody from './layer-norm-param-grad.wgsl?raw';
import body from './layer-norm.wgsl?raw';
import {
  type LayerNormArgs,
  layerNormEps,
  type LayerNormGradArgs,
  type LayerNormParamGradArgs,
} from './spec.ts';

const forwardKernel = rowKernel('layer-norm', body, 'rrrwww');
const gradKernel = rowKernel('layer-norm-grad', gradBody, 'rrrrrrw');
const paramGradKernel = kernel('layer-norm-param-grad', paramGradBody, 'rrrrww');

const inverseBits = (cols: number) => bitsOf(constant(1 / cols));

export function layerNormPasses({ x, gain, bias, y, mean, rstd, rows, cols }: LayerNormArgs): Pass[] {
  checkRowLength('layerNorm', cols);
  distinct('layerNorm', [y, mean, rstd], [x, gain, bias]);
  return [
    {
      kernel: forwardKernel,
      buffers: [x, gain, bias, y, mean, rstd],
      uniforms: [rows, cols, inverseBits(cols), bitsOf(layerNormEps)],
      workgroups: rows,
    },
  ];
}

export function layerNormGradPasses(args: LayerNormGradArgs): Pass[] {
  const { dy, x, gain, mean, rstd, residual, dx, rows, cols } = args;
  const inPlace = residual === dx;
  const other = inPlace ? null : (residual ?? null);
  checkRowLength('layerNormGrad', cols);
  distinct('layerNormGrad', [dx], [dy, x, gain, mean, rstd, other]);
  return [
    {
      kernel: gradKernel,
      constants: { RESIDUAL: inPlace ? 1 : other ? 2 : 0 },
      buffers: [dy, x, gain, mean, rstd, other, dx],
      uniforms: [rows, cols, inverseBits(cols)],
      workgroups: rows,
    },
  ];
}

export function layerNormParamGradPasses(args: LayerNormParamGradArgs): Pass[] {
  const { dy, x, mean, rstd, dgain, dbias, rows, cols } = args;
  checkRowLength('layerNormParamGrad', rows);
  distinct('layerNormParamGrad', [dgain, dbias], [dy, x, mean, rstd]);
  return [
    {
      kernel: paramGradKernel,
      buffers: [dy, x, mean, rstd, dgain, dbias],
      uniforms: [rows, cols],
      workgroups: Math.ceil(cols / 16),
    },
  ];
}
