/** AdamW on WebGPU. */
import { bitsOf, distinct, kernel, type Pass } from '../../device/webgpu-pass.ts';
import { sub } from '../math/cpu.ts';
import body from './adamw.wgsl?raw';
import type { AdamwArgs } from './spec.ts';

const adamwKernel = kernel('adamw', body, 'wrwwrr');

export function adamwPasses(args: AdamwArgs): Pass[] {
  const { p, g, m, v, scalars, size, beta1, beta2, eps, weightDecay } = args;
  const gradScale = args.gradScale ?? null;
  distinct('adamw', [p, m, v], [g, scalars, gradScale]);
  const reals = [beta1, sub(1, beta1), beta2, sub(1, beta2), eps, weightDecay];
  return [
    {
      kernel: adamwKernel,
      buffers: [p, g, m, v, scalars, gradScale],
      uniforms: [size, ...reals.map(bitsOf), gradScale ? 1 : 0],
      workgroups: Math.ceil(size / 256),
    },
  ];
}
