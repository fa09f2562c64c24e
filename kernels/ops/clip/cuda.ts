/** The gradient's norm and the clipping factor on CUDA: blocks of 4096 squares, then one block of threads for their sums. */
import { AtollError } from '#protocol/errors.ts';
import { bitsOf, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf } from '../math/cuda.ts';
import warp from '../reduce/warp.cuh?raw';
import body from './clip.cu?raw';
import type { ClipScaleArgs, SumSquaresArgs } from './spec.ts';

export const clipSource = cudaSource('clip', warp, body);

const squaresKernel = entryOf(clipSource, 'sum_squares');
const sumKernel = entryOf(clipSource, 'sum_blocks');
const clipKernel = entryOf(clipSource, 'clip_scale');
const block = 4096;
const oneBlock = { grid: [1, 1, 1], block: [1024, 1, 1] } as const;

export function sumSquaresLaunches(args: SumSquaresArgs, context: LaunchContext): Launch[] {
  const { src, count, dst, at } = args;
  const blocks = Math.ceil(count / block);
  const [to, word] = blocks === 1 ? [dst, at] : [context.scratch('sum squares', blocks), 0];
  const squares: Launch = {
    kernel: squaresKernel,
    args: [src, to, count, word],
    grid: [Math.ceil(blocks / 8), 1, 1],
    block: [32, 8, 1],
  };
  if (blocks === 1) return [squares];
  return [squares, { kernel: sumKernel, args: [to, dst, blocks, at], ...oneBlock }];
}

export function clipScaleLaunches({ partials, count, max, dst }: ClipScaleArgs): Launch[] {
  if (count > block ** 2) throw new AtollError('bad_input', 'clipScale: more than 2^24 partials.');
  return [{ kernel: clipKernel, args: [partials, dst, count, bitsOf(max)], ...oneBlock }];
}
