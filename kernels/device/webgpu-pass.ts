/**
 * What an op's gpu.ts says to the WebGPU device: passes, each one dispatch of one kernel over buffers and uniform words.
 *
 * Conventions of every kernel: group 0, binding 0 is the uniform struct, 1 the zero word of pf32.wgsl, buffers from 2 on; workgroups are numbered
 * in one line, laid out as a 2D grid because one dimension ends at 65,535. At most 7 buffers of a kernel's own: WebGPU guarantees 8 a stage.
 */
import type { Quantized, Tensor } from '../tensor/tensor.ts';
import type { Bits } from '../ops/quantize/spec.ts';
import type { GemmConfig } from './webgpu-gemm-configs.ts';

export { bitsOf, distinct, viewWords } from './op-words.ts';

/** A tensor of a WebGPU device. `size` in words. */
export interface GpuTensor extends Tensor {
  readonly buffer: GPUBuffer;
}

/**
 * Quantised rows as the kernels hold them: [batch][lines][stride] mantissas, the contraction contiguous and padded with zeros to a multiple of 8;
 * f32 words, integers of at most 15 bits. `lines` are rows, or columns when transposed.
 */
export interface GpuOperand extends Quantized {
  readonly mantissas: GpuTensor;
  readonly exponents: GpuTensor;
  readonly lines: number;
  readonly stride: number;
}

export interface Kernel {
  readonly label: string;
  /** Without the prelude, which is the device's: see webgpu-prelude.ts. */
  readonly code: string;
  /** A WGSL extension that the code needs; see PassContext. */
  readonly enable?: 'subgroups';
  /** The buffers from binding 2 on: `r` is read-only, `w` is read_write. */
  readonly access: string;
}

export interface Pass {
  readonly kernel: Kernel;
  /** Values of the kernel's overrides. */
  readonly constants?: Readonly<Record<string, number>>;
  /** null binds a buffer of zeros that is never looked at. */
  readonly buffers: readonly (Tensor | null)[];
  /** The uniform struct, word by word. */
  readonly uniforms: readonly number[];
  readonly workgroups: number;
  /** Multiply-adds, where they are many: submits are cut by it. */
  readonly work?: number;
}

/** What an op may ask of the device beside its arguments. */
export interface PassContext {
  /** At least `words` words, zero at first, shared by every op that uses this name. */
  scratch(name: string, words: number): Tensor;
  /** The adapter runs on the CPU: invocations share a core, barriers only cost. */
  readonly software: boolean;
  /** f32 operations round to nearest, as the probe shows; not so where PF32 is computed on integers. */
  readonly f32: boolean;
  /** GEMM's kernel and workgroup shape on a real GPU, for mantissas of this width. */
  gemm(nb: Bits): GemmConfig;
  /** Kernels may enable subgroups. */
  readonly subgroups: boolean;
}

export type PassBuilder<A> = (args: A, context: PassContext) => Pass[];

/** A kernel from its body. */
export function kernel(label: string, body: string, access: string, enable?: 'subgroups'): Kernel {
  return { label, code: body, access, ...(enable ? { enable } : {}) };
}

/** Workgroups in one line as a grid of at most 65,535 each way. */
export function gridOf(workgroups: number): [x: number, y: number] {
  const y = Math.ceil(workgroups / 65_535);
  return [Math.ceil(workgroups / y), y];
}
