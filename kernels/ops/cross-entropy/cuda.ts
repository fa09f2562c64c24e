/** Softmax cross-entropy on CUDA: a warp for every 4096 logits of a row, as far as a block goes. */
import { bitsOf, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf } from '../math/cuda.ts';
import warp from '../reduce/warp.cuh?raw';
import body from './cross-entropy.cu?raw';
import type { CrossEntropyArgs } from './spec.ts';

export const crossEntropySource = cudaSource('cross-entropy', warp, body);
const crossEntropyKernel = entryOf(crossEntropySource, 'cross_entropy');

/** Warps of a row at most, and of a block that takes several rows. */
const rowWarpsMax = 16;
const blockWarps = 4;
/** Logits that a warp keeps in shared memory at most: 8 KiB, so that some 28 warps fit a multiprocessor. */
const keptByWarp = 2048;

export function crossEntropyLaunches(args: CrossEntropyArgs, context: LaunchContext): Launch[] {
  const { logits, targets, losses, rows, V, gradientScale } = args;
  const blocks = Math.ceil(V / 4096);
  const warps = Math.min(rowWarpsMax, blocks);
  const rowsOfBlock = Math.max(1, Math.floor(blockWarps / warps));
  // Two blocks on a multiprocessor: each leaves the other half, less the KiB that the system takes.
  const room = ((context.sharedMax + 1024) / 2 - 1024) / 4 / rowsOfBlock / blocks - 1;
  const wanted = Math.min(Math.ceil(V / 64) * 64, (warps * keptByWarp) / blocks);
  const kept = Math.max(0, Math.floor(Math.min(wanted, room) / 64) * 64);
  return [
    {
      kernel: crossEntropyKernel,
      args: [
        logits,
        targets,
        losses,
        rows,
        V,
        gradientScale === undefined ? 0 : 1,
        bitsOf(gradientScale ?? 0),
        kept,
      ],
      grid: [Math.ceil(rows / rowsOfBlock), 1, 1],
      block: [32 * warps, rowsOfBlock, 1],
      shared: 4 * rowsOfBlock * blocks * (kept + 1),
    },
  ];
}
