/** AdamW on CUDA. */
import { bitsOf, distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { sub } from '../math/cpu.ts';
import { cudaSource, entryOf, quadGrid } from '../math/cuda.ts';
import quads from '../math/quads.cuh?raw';
import body from './adamw.cu?raw';
import type { AdamwArgs } from './spec.ts';

export const adamwSource = cudaSource('adamw', quads, body);
const adamwKernel = entryOf(adamwSource, 'adamw');

export function adamwLaunches(args: AdamwArgs, context: LaunchContext): Launch[] {
  const { p, g, m, v, scalars, size, beta1, beta2, eps, weightDecay, gradScale = null } = args;
  distinct('adamw', [p, m, v], [g, scalars, gradScale]);
  const reals = [beta1, sub(1, beta1), beta2, sub(1, beta2), eps, weightDecay].map(bitsOf);
  return [
    {
      kernel: adamwKernel,
      args: [p, g, m, v, scalars, gradScale, size, ...reals],
      ...quadGrid(size, context),
    },
  ];
}
