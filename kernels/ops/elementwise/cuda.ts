/** Elementwise operations and the Nesterov step on CUDA. */
import { bitsOf, distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf, quadGrid } from '../math/cuda.ts';
import quads from '../math/quads.cuh?raw';
import body from './elementwise.cu?raw';
import type { ElementwiseArgs, NesterovArgs } from './spec.ts';

export const elementwiseSource = cudaSource('elementwise', quads, body);
const elementwiseKernel = entryOf(elementwiseSource, 'elementwise');
const nesterovKernel = entryOf(elementwiseSource, 'nesterov');
const kinds = { add: 0, sub: 1, scale: 2, sqrt: 3 } as const;

export function elementwiseLaunches(args: ElementwiseArgs, context: LaunchContext): Launch[] {
  const { dst, a, size } = args;
  const b = 'b' in args ? args.b : null;
  const factor = 'factor' in args ? bitsOf(args.factor) : 0;
  return [
    {
      kernel: elementwiseKernel,
      args: [a, b, dst, size, factor, kinds[args.kind]],
      ...quadGrid(size, context),
    },
  ];
}

export function nesterovLaunches(args: NesterovArgs, context: LaunchContext): Launch[] {
  const { p, momentum, delta, size, lr, mu } = args;
  distinct('nesterov', [p, momentum], [delta]);
  const words = [size, bitsOf(lr), bitsOf(mu)];
  return [{ kernel: nesterovKernel, args: [p, momentum, delta, ...words], ...quadGrid(size, context) }];
}
