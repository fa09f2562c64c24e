/** The gradient's norm and the clipping factor on WebGPU: blocks of 4096 squares, then levels of the op that sums. */
import { bitsOf, kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { rowGrid, rowKernel, rowShape, sumPasses } from '../reduce/gpu.ts';
import clipBody from './clip-scale.wgsl?raw';
import type { ClipScaleArgs, SumSquaresArgs } from './spec.ts';
import squaresBody from './sum-squares.wgsl?raw';

const squaresKernel = rowKernel('sum-squares', squaresBody, 'rw');
const clipKernel = kernel('clip-scale', clipBody, 'rw');
const block = 4096;

export function sumSquaresPasses(args: SumSquaresArgs, context: PassContext): Pass[] {
  const { src, count, dst, at } = args;
  const blocks = Math.ceil(count / block);
  const [to, word] = blocks === 1 ? [dst, at] : [context.scratch('sum squares', blocks), 0];
  const squares = {
    kernel: squaresKernel,
    buffers: [src, to],
    uniforms: [count, word],
    ...rowGrid(blocks, rowShape(block, context)),
  };
  if (blocks === 1) return [squares];
  return [squares, ...sumPasses({ src: to, count: blocks, factor: 1, dst, at }, context)];
}

export function clipScalePasses(args: ClipScaleArgs, context: PassContext): Pass[] {
  const { partials, count, max, dst } = args;
  const total = context.scratch('clip', 1);
  return [
    ...sumPasses({ src: partials, count, factor: 1, dst: total, at: 0 }, context),
    { kernel: clipKernel, buffers: [total, dst], uniforms: [bitsOf(max)], workgroups: 1 },
  ];
}
