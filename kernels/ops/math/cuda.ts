/** What every CUDA source starts with: PF32, and the headers that a kernel asks for. */
import {
  type CudaKernel,
  type CudaSource,
  type Launch,
  type LaunchContext,
  line,
} from '../../device/cuda/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import functions from './functions.cu?raw';
import { type FunctionName, functionNames } from './names.ts';
import pf32 from './pf32.cuh?raw';

/** One translation unit: pf32.cuh, then `parts` in order, the body last. */
export function cudaSource(label: string, ...parts: string[]): CudaSource {
  return { label, parts: [pf32, ...parts] };
}

/** A source's function by its name. */
export const entryOf = (source: CudaSource, entry: string): CudaKernel => ({ source, entry });

/** Whether float4 accesses of these word offsets and lengths are aligned, as tensors begin at 256 bytes. */
export const quads = (...words: number[]): boolean => words.every((word) => word % 4 === 0);

/** A grid for kernels whose threads take quads of `size` elements and then come round again: enough threads to fill the device four times. */
export function quadGrid(size: number, { multiprocessors }: LaunchContext): Pick<Launch, 'grid' | 'block'> {
  return { grid: [Math.min(Math.ceil(size / 4 / 256), 32 * multiprocessors), 1, 1], block: [256, 1, 1] };
}

export const functionsSource = cudaSource('functions', functions);

/** A function of PF32 called by itself: for the conformance suite. Ops have them inlined. */
export function functionLaunch(name: FunctionName, a: Tensor, b: Tensor, c: Tensor, y: Tensor): Launch {
  return {
    kernel: entryOf(functionsSource, 'functions'),
    args: [a, b, c, y, y.size, functionNames.indexOf(name)],
    ...line(y.size),
  };
}
