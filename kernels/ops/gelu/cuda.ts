/** GELU on CUDA, forward and backward. */
import { distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf, quadGrid } from '../math/cuda.ts';
import quads from '../math/quads.cuh?raw';
import body from './gelu.cu?raw';
import gelu from './gelu.cuh?raw';
import type { GeluArgs, GeluGradArgs } from './spec.ts';

export const geluSource = cudaSource('gelu', quads, gelu, body);
const forwardKernel = entryOf(geluSource, 'gelu_forward');
const gradKernel = entryOf(geluSource, 'gelu_backward');

export function geluLaunches({ x, y, size }: GeluArgs, context: LaunchContext): Launch[] {
  distinct('gelu', [y], [x]);
  return [{ kernel: forwardKernel, args: [x, y, size], ...quadGrid(size, context) }];
}

export function geluGradLaunches({ x, dy, dx, size }: GeluGradArgs, context: LaunchContext): Launch[] {
  distinct('geluGrad', [dx], [x, dy === dx ? null : dy]);
  return [{ kernel: gradKernel, args: [x, dy, dx, size], ...quadGrid(size, context) }];
}
