/** AdamW on WebGPU. */
import { bitsOf, distinct, kernel, type Pass } from '../../device/webgpu-pass.ts';
import { sub } from '../math/cpu.ts';
import body from './adamw.wgsl?raw';
import type { AdamwArgs } from './spec.ts';

const adamwKernel = kernel('adamw', body, 'wrwwr');

export function adamwPasses(args: AdamwArgs): Pass[] {
  const { p, g, m, v, scalars, size, beta1, beta2, eps, weightDecay } = args;
  distinct('adamw', [p, m, v], [g, scalars]);
  const reals = [beta1, sub(1, beta1), beta2, sub(1, beta2), eps, weightDecay];
  return [
    {
      kernel: adamwKernel,
      buffers: [p, g, m, v, scalars],
      uniforms: [size, ...reals.map(bitsOf)],
      workgroups: Math.ceil(size / 256),
    },
  ];
}
