/** Sums on WebGPU: the prelude for kernels that reduce rows, and the op that sums a whole tensor in levels of 4096. */
import { bitsOf, type Kernel, kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { SumArgs } from '../elementwise/spec.ts';
import { AtollError } from '#protocol/errors.ts';
import alone from './reduce-alone.wgsl?raw';
import reduce from './reduce.wgsl?raw';
import body from './sum.wgsl?raw';

/** A kernel that reduces rows, see reduce.wgsl. */
export function rowKernel(label: string, rowBody: string, access: string): Kernel {
  return kernel(label, `${reduce}\n${rowBody}`, access);
}

/** A kernel whose invocations take a whole row each, see reduce-alone.wgsl. */
export function aloneKernel(label: string, rowBody: string, access: string): Kernel {
  return kernel(label, `${alone}\n${rowBody}`, access);
}

/** Whether rows of this length suit an `aloneKernel`. */
export function fitsAlone(length: number, { software }: PassContext): boolean {
  return software && length <= aloneMax && length % 64 === 0;
}

/** The grid of an `aloneKernel`. */
export function aloneGrid(rows: number): Pick<Pass, 'workgroups'> {
  return { workgroups: Math.ceil(rows / 16) };
}

/** Longest row: three passes of 64 lanes over it are 49,152 iterations, and lavapipe silently ends a shader's loops after 65,535 in all. */
export const rowMax = 2 ** 20;

/** Throws `bad_input` for rows longer than that. */
export function checkRowLength(op: string, length: number): void {
  if (length > rowMax) throw new AtollError('bad_input', `${op}: a row has more than 2^20 elements.`);
}

/** Longest row that one invocation walks by itself: Mesa's lavapipe silently ends a shader's loops after 65,535 iterations in all. */
export const aloneMax = 4096;

/** Where the 64 lanes of a reduction live. On an adapter that runs on the CPU a barrier costs more than it saves. */
export function rowShape(length: number, { software }: PassContext): { LANES: number; SLOTS: number } {
  return software && length <= aloneMax ? { LANES: 1, SLOTS: 16 } : { LANES: 64, SLOTS: 1 };
}

/** Overrides and grid for a kernel that reduces this many rows. */
export function rowGrid(
  rows: number,
  shape: { LANES: number; SLOTS: number },
): Pick<Pass, 'constants' | 'workgroups'> {
  return { constants: shape, workgroups: Math.ceil(rows / shape.SLOTS) };
}

const sumKernel = rowKernel('sum', body, 'rw');
const block = 4096;

export function sumPasses({ src, count, factor, dst, at }: SumArgs, context: PassContext): Pass[] {
  const passes: Pass[] = [];
  const one = bitsOf(1);
  let from: Tensor = src;
  let left = count;
  // An input that is also the output is first summed into scratch: the same bits, since a sum of one value is that value.
  while (left > block || from === dst) {
    const blocks = Math.ceil(left / block);
    const to = context.scratch(`sum ${passes.length % 2}`, blocks);
    passes.push(blockSums(from, left, one, to, 0, context));
    [from, left] = [to, blocks];
  }
  return [...passes, blockSums(from, left, bitsOf(factor), dst, at, context)];
}

function blockSums(
  src: Tensor,
  count: number,
  factor: number,
  dst: Tensor,
  at: number,
  context: PassContext,
): Pass {
  const grid = rowGrid(Math.ceil(count / block), rowShape(block, context));
  return { kernel: sumKernel, buffers: [src, dst], uniforms: [count, at, factor], ...grid };
}
