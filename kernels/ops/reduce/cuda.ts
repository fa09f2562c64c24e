/** Reductions on CUDA: kernels over rows (row.cuh) and down columns (columns.cuh) in the shapes they come in, and the op that sums a whole tensor. */
import { bitsOf, type CudaSource, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { SumArgs } from '../elementwise/spec.ts';
import { cudaSource, entryOf } from '../math/cuda.ts';
import { AtollError } from '#protocol/errors.ts';
import columns from './columns.cuh?raw';
import row from './row.cuh?raw';
import sum from './sum.cu?raw';
import warp from './warp.cuh?raw';

/** Terms of one level of a sum. */
export const sumBlock = 4096;

/** Pairs of elements that a thread keeps of a row; 0: the row is read again and again. */
type Pairs = 8 | 16 | 32 | 64 | 0;

/** One body of a row kernel, compiled for each length of row. */
export interface RowKernel {
  readonly sources: readonly (readonly [pairs: Pairs, source: CudaSource])[];
  readonly entry: string;
}

/** `body`: the parts behind row.cuh. `keptRows`: how many rows the kernel keeps in registers; more than one leave no room for the longest. */
export function rowKernel(label: string, body: readonly string[], entry: string, keptRows: 1 | 2): RowKernel {
  const all: readonly Pairs[] = keptRows === 1 ? [8, 16, 32, 64, 0] : [8, 16, 32, 0];
  const sources = all.map((pairs) => {
    const source = cudaSource(`${label}-${pairs}`, `constexpr u32 PAIRS = ${pairs};`, row, ...body);
    return [pairs, source] as const;
  });
  return { sources, entry };
}

/** One row a warp where it fits its registers, else a block a row with a warp for every 4096 elements. */
export function rowLaunch(
  { sources, entry }: RowKernel,
  rows: number,
  cols: number,
  args: Launch['args'],
  { multiprocessors }: LaunchContext,
): Launch {
  if (cols > 2 ** 24) throw new AtollError('bad_input', `${entry}: a row has more than 2^24 elements.`);
  const fitting = sources.find(([pairs]) => pairs > 0 && cols <= 64 * pairs);
  const [pairs, source] = fitting ?? (sources.at(-1) as (typeof sources)[number]);
  const kernel = entryOf(source, entry);
  if (pairs === 0) {
    return { kernel, args, grid: [rows, 1, 1], block: [32 * Math.min(8, Math.ceil(cols / sumBlock)), 1, 1] };
  }
  // Few rows are spread over all multiprocessors.
  const perBlock = Math.min(pairs === 64 ? 4 : 8, Math.max(1, Math.ceil(rows / multiprocessors)));
  return { kernel, args, grid: [Math.ceil(rows / perBlock), 1, 1], block: [32, perBlock, 1] };
}

/** One body of a column kernel, for strips of 32 columns and of 8. */
export interface ColumnKernel {
  readonly wide: CudaSource;
  readonly narrow: CudaSource;
}

export function columnKernel(label: string, columnBody: string): ColumnKernel {
  const source = (name: string, lanes: number) =>
    cudaSource(`${label}-${name}`, `constexpr u32 LANES = ${lanes};`, columns, columnBody);
  return { wide: source('wide', 4), narrow: source('narrow', 1) };
}

/** Blocks of rows that are summed by themselves first. */
export const rowBlocks = (rows: number) => Math.ceil(rows / sumBlock);

/** A launch of a column kernel over all rows: narrow strips where wide ones would leave multiprocessors idle. */
export function columnLaunch(
  { wide, narrow }: ColumnKernel,
  entry: string,
  rows: number,
  cols: number,
  args: Launch['args'],
  { multiprocessors }: LaunchContext,
): Launch {
  const blocks = rowBlocks(rows);
  const isWide = Math.ceil(cols / 32) * blocks >= 2 * multiprocessors;
  const [columnsOfBlock, lanes] = isWide ? [32, 4] : [8, 1];
  return {
    kernel: entryOf(isWide ? wide : narrow, entry),
    args,
    grid: [Math.ceil(cols / columnsOfBlock), blocks, 1],
    block: [columnsOfBlock, 64 / lanes, 1],
  };
}

export const sumSource = cudaSource('sum', warp, sum);
const sumKernel = entryOf(sumSource, 'sum_blocks');
const warpsOfBlock = 4;

/** A warp for each block of 4096 values. */
export function blockGrid(count: number): Pick<Launch, 'grid' | 'block'> {
  return { grid: [Math.ceil(count / sumBlock / warpsOfBlock), 1, 1], block: [32, warpsOfBlock, 1] };
}

/** Launches that leave at most `most` values to sum, and where they then lie. */
export function sumLevels(
  src: Tensor,
  count: number,
  most: number,
  context: LaunchContext,
): { launches: Launch[]; from: Tensor; left: number } {
  const launches: Launch[] = [];
  let from = src;
  let left = count;
  while (left > most) {
    const to = context.scratch(`sum ${launches.length % 2}`, Math.ceil(left / sumBlock));
    launches.push({ kernel: sumKernel, args: [from, to, left, 0, bitsOf(1)], ...blockGrid(left) });
    [from, left] = [to, Math.ceil(left / sumBlock)];
  }
  return { launches, from, left };
}

export function sumLaunches({ src, count, factor, dst, at }: SumArgs, context: LaunchContext): Launch[] {
  const { launches, from, left } = sumLevels(src, count, sumBlock, context);
  const args = [from, dst, left, at, bitsOf(factor)];
  return [...launches, { kernel: sumKernel, args, ...blockGrid(left) }];
}
