/** What the kernels of a GPU are given of an op's arguments: words of constants and views, after the checks that all GPUs share. */
import { AtollError } from '#protocol/errors.ts';
import { fl, toBits } from '../ops/math/cpu.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Bits of a constant that an op takes as a number. Throws `bad_input` when it is no PF32 value: the devices would round it differently. */
export function bitsOf(value: number): number {
  if (Math.fround(value) === value && Number.isFinite(value) && Object.is(fl(value), value))
    return toBits(value);
  throw new AtollError('bad_input', `${value} is not a PF32 value; pass it through constant() first.`);
}

/** The six layout words of a view, as `struct View` of the kernels has them. */
export function viewWords(view: {
  offset: number;
  batch: readonly [number, number, number, number];
  rowStride: number;
  colStride: number;
}): number[] {
  const [, s0, n1, s1] = view.batch;
  return [view.offset, s0, n1, s1, view.rowStride, view.colStride];
}

/** Throws `bad_input` when an output is also an input, which WebGPU forbids: an op without a variant for it is refused by every GPU alike. */
export function distinct(op: string, outputs: readonly Tensor[], inputs: readonly (Tensor | null)[]): void {
  const clash = outputs.some((output, i) => inputs.includes(output) || outputs.indexOf(output) !== i);
  if (clash) throw new AtollError('bad_input', `${op}: an output cannot be an input too.`);
}
