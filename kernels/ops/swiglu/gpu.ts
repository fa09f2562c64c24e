/** SwiGLU on WebGPU, forward and backward. */
import { distinct, kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import gradBody from './swiglu-grad.wgsl?raw';
import body from './swiglu.wgsl?raw';
import type { SwigluArgs, SwigluGradArgs } from './spec.ts';

const forwardKernel = kernel('swiglu', body, 'rrw');
const gradKernel = kernel('swiglu-grad', gradBody, 'rrrww');

export function swigluPasses(args: SwigluArgs): Pass[] {
  const { gate, up, y } = args;
  distinct('swiglu', [y], [gate.tensor, up.tensor]);
  const places = [gate, up].flatMap(({ offset, rowStride }) => [offset, rowStride]);
  return [
    {
      kernel: forwardKernel,
      buffers: [gate.tensor, up.tensor, y],
      uniforms: [gate.rows, gate.cols, ...places],
      workgroups: Math.ceil((gate.rows * gate.cols) / 256),
    },
  ];
}

export function swigluGradPasses(args: SwigluGradArgs, context: PassContext): Pass[] {
  const { gate, up, dy, dgate, dup } = args;
  const shared = dgate.tensor === dup.tensor;
  const other = shared ? context.scratch('swiglu', 1) : dup.tensor;
  distinct('swigluGrad', [dgate.tensor, other], [gate.tensor, up.tensor, dy]);
  const places = [gate, up, dgate, dup].flatMap(({ offset, rowStride }) => [offset, rowStride]);
  return [
    {
      kernel: gradKernel,
      buffers: [gate.tensor, up.tensor, dy, dgate.tensor, other],
      uniforms: [gate.rows, gate.cols, ...places, shared ? 1 : 0],
      workgroups: Math.ceil((gate.rows * gate.cols) / 256),
    },
  ];
}
