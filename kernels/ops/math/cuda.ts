/** What every CUDA source starts with: PF32, and the headers that a kernel asks for. */
import type { CudaKernel, CudaSource } from '../../device/cuda/launch.ts';
import pf32 from './pf32.cuh?raw';

/** One translation unit: pf32.cuh, then `parts` in order, the body last. */
export function cudaSource(label: string, ...parts: string[]): CudaSource {
  return { label, parts: [pf32, ...parts] };
}

/** A source's function by its name. */
export const entryOf = (source: CudaSource, entry: string): CudaKernel => ({ source, entry });

/** 1 where float4 accesses of these word offsets and lengths are aligned: tensors begin at 256 bytes. */
export const quads = (...words: number[]): boolean => words.every((word) => word % 4 === 0);
