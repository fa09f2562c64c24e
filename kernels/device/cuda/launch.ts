/**
 * What an op's cuda.ts says to the CUDA device: launches, each one kernel over tensors and words.
 *
 * A kernel is `extern "C" __global__`; its parameters are, in order, `args`: a tensor is its device address (a typed pointer in the kernel), null a
 * null pointer, a number one 32-bit word (`u32`, or `i32` by its bits). Kernels of one op run in the order of their launches, each after the one before.
 */
import type { Quantized, Tensor } from '../../tensor/tensor.ts';

/** A tensor of a CUDA device: `size` words from `address` on, 256-byte aligned. */
export interface CudaTensor extends Tensor {
  readonly address: bigint;
}

/**
 * Quantised rows as the CUDA kernels hold them: [batch][lines][stride] digits of a byte each, the contraction contiguous and padded with zeros to a
 * multiple of 64. `lines` are rows, or columns when transposed. `mantissas` (low) and `high` are the planes of digits: by width, q = low (7 bits), 32 high + low
 * (10 bits, low in -16..15) or 256 high + low (15 bits, low in -128..127). `width` is one word: the nb that the operand was last quantised with.
 * A `narrow` operand has no `high`.
 */
export interface CudaOperand extends Quantized {
  /** The plane of low digits, [batch][lines][stride] int8. */
  readonly mantissas: CudaTensor;
  readonly high: CudaTensor | null;
  /** [batch][rows], i32. */
  readonly exponents: CudaTensor;
  readonly width: CudaTensor;
  readonly lines: number;
  /** Bytes from one line to the next. */
  readonly stride: number;
}

/** One translation unit: all that is compiled together. */
export interface CudaSource {
  /** Names the module in errors and in the cache: the `.cu` file without its ending. */
  readonly label: string;
  /** Headers (`.cuh`) first, then the `.cu` body, in order. */
  readonly parts: readonly string[];
}

export interface CudaKernel {
  readonly source: CudaSource;
  /** The `extern "C" __global__` function. */
  readonly entry: string;
}

export interface Launch {
  readonly kernel: CudaKernel;
  readonly args: readonly (Tensor | null | number)[];
  /** Blocks; y and z at most 65,535. */
  readonly grid: readonly [x: number, y: number, z: number];
  readonly block: readonly [x: number, y: number, z: number];
  /** Bytes of dynamic shared memory; above 48 KiB the device raises the kernel's limit. */
  readonly shared?: number;
}

/** What an op may ask of the device beside its arguments. */
export interface LaunchContext {
  /** At least `words` words, zero at first, shared by every op that uses this name. */
  scratch(name: string, words: number): Tensor;
  /** Multiprocessors, compute capability as 10 * major + minor, and the most dynamic shared memory of a block. */
  readonly multiprocessors: number;
  readonly capability: number;
  readonly sharedMax: number;
}

export type LaunchBuilder<A> = (args: A, context: LaunchContext) => Launch[];

/** The same refusals as WebGPU's: kernels may read what they read as memory that nobody writes. */
export { bitsOf, distinct, viewWords } from '../op-words.ts';

export const operand = (q: Quantized): CudaOperand => q as CudaOperand;

/** One block's worth of threads in a line over `items`. */
export function line(items: number, threads = 256): Pick<Launch, 'grid' | 'block'> {
  return { grid: [Math.ceil(items / threads), 1, 1], block: [threads, 1, 1] };
}
