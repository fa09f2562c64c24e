/** GELU on WebGPU, forward and backward. */
import { distinct, kernel, type Pass } from '../../device/webgpu-pass.ts';
import gradBody from './gelu-grad.wgsl?raw';
import body from './gelu.wgsl?raw';
import type { GeluArgs, GeluGradArgs } from './spec.ts';

const forwardKernel = kernel('gelu', body, 'rw');
const gradKernel = kernel('gelu-grad', gradBody, 'rrw');

export function geluPasses({ x, y, size }: GeluArgs): Pass[] {
  distinct('gelu', [y], [x]);
  return [{ kernel: forwardKernel, buffers: [x, y], uniforms: [size], workgroups: Math.ceil(size / 256) }];
}

export function geluGradPasses({ x, dy, dx, size }: GeluGradArgs): Pass[] {
  const inPlace = dy === dx;
  const other = inPlace ? null : dy;
  distinct('geluGrad', [dx], [x, other]);
  return [
    {
      kernel: gradKernel,
      buffers: [x, other, dx],
      uniforms: [size, inPlace ? 1 : 0],
      workgroups: Math.ceil(size / 256),
    },
  ];
}
