/** Sums down the columns on WebGPU. */
import { distinct, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { aloneMax, rowGrid, rowKernel, rowShape } from '../reduce/gpu.ts';
import body from './column-sum.wgsl?raw';
import type { ColumnSumArgs } from './spec.ts';

const columnSumKernel = rowKernel('column-sum', body, 'rw');

export function columnSumPasses(args: ColumnSumArgs, context: PassContext): Pass[] {
  const { src, dst, rows, cols, accumulate } = args;
  // Neighbouring columns side by side, so that a workgroup reads whole lines of memory.
  const alone = context.software && rows <= aloneMax;
  const shape = alone ? rowShape(rows, context) : { LANES: 16, SLOTS: 16 };
  distinct('columnSum', [dst], [src]);
  return [
    {
      kernel: columnSumKernel,
      buffers: [src, dst],
      uniforms: [rows, cols, accumulate ? 1 : 0],
      ...rowGrid(cols, shape),
    },
  ];
}
