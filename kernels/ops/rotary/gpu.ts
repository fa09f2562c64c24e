/** Rotary positions on WebGPU. */
import { distinct, kernel, type Pass } from '../../device/webgpu-pass.ts';
import body from './rotary.wgsl?raw';
import { type RotaryArgs, tableRows } from './spec.ts';

const rotaryKernel = kernel('rotary', body, 'rrrw');

export function rotaryPasses(args: RotaryArgs): Pass[] {
  const { x, offset, rowStride, heads, headStride, rows, HD, cos, sin, positions, inverse } = args;
  distinct('rotary', [x], [cos, sin, positions]);
  return [
    {
      kernel: rotaryKernel,
      buffers: [cos, sin, positions, x],
      uniforms: [offset, rowStride, heads, headStride, rows, HD / 2, tableRows(args), inverse ? 1 : 0],
      workgroups: Math.ceil((rows * heads * HD) / 2 / 256),
    },
  ];
}
