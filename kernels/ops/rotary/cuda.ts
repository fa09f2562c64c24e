/** Rotary positions on CUDA. */
import { distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf, quadGrid, quads } from '../math/cuda.ts';
import body from './rotary.cu?raw';
import { type RotaryArgs, tableRows } from './spec.ts';

export const rotarySource = cudaSource('rotary', body);
const rotaryKernel = entryOf(rotarySource, 'rotary');

export function rotaryLaunches(args: RotaryArgs, context: LaunchContext): Launch[] {
  const { x, offset, rowStride, heads, headStride, rows, HD, cos, sin, positions, inverse } = args;
  distinct('rotary', [x], [cos, sin, positions]);
  const half = HD / 2;
  const width = quads(offset, rowStride, headStride, half) ? 4 : 1;
  const shape = [offset, rowStride, heads, headStride, rows, half, tableRows(args), inverse ? 1 : 0, width];
  return [
    {
      kernel: rotaryKernel,
      args: [cos, sin, positions, x, ...shape],
      ...quadGrid((4 * rows * heads * half) / width, context),
    },
  ];
}
