/** Sums down the columns on CUDA. */
import { distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import { columnKernel, columnLaunch, rowBlocks } from '../reduce/cuda.ts';
import body from './column-sum.cu?raw';
import type { ColumnSumArgs } from './spec.ts';

const kernel = columnKernel('column-sum', body);
export const columnSumSources = [kernel.wide, kernel.narrow];

export function columnSumLaunches(args: ColumnSumArgs, context: LaunchContext): Launch[] {
  const { src, dst, rows, cols, accumulate } = args;
  distinct('columnSum', [dst], [src]);
  const blocks = rowBlocks(rows);
  const end = (from: typeof src, count: number) =>
    columnLaunch(kernel, 'column_sum_of', count, cols, [from, dst, count, cols, accumulate ? 1 : 0], context);
  if (blocks === 1) return [end(src, rows)];
  const partials = context.scratch('column sums', blocks * cols);
  const first = columnLaunch(kernel, 'column_partials', rows, cols, [src, partials, rows, cols], context);
  return [first, end(partials, blocks)];
}
