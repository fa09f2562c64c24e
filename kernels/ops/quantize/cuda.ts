/** QUANT on CUDA: how rows are spread over threads, and where their digits go. */
import { type Launch, type LaunchContext, operand, viewWords } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf, quads } from '../math/cuda.ts';
import viewHeader from '../math/view.cuh?raw';
import header from './quantize.cuh?raw';
import rowsBody from './quantize-rows.cu?raw';
import tileBody from './quantize-tile.cu?raw';
import { dstRowOf, type QuantizeArgs } from './spec.ts';

export const quantizeRowsSource = cudaSource('quantize-rows', viewHeader, header, rowsBody);
export const quantizeTileSource = cudaSource('quantize-tile', viewHeader, header, tileBody);
const rowsKernel = entryOf(quantizeRowsSource, 'quantize_rows');
const tileKernel = entryOf(quantizeTileSource, 'quantize_tile');

/** Rows of a block of quantize-tile.cu. */
const tileRows = 32;

export function quantizeLaunches(args: QuantizeArgs, _context: LaunchContext): Launch[] {
  const { src, nb, stochastic } = args;
  const { row, tensor: position } = dstRowOf(args);
  const dst = operand(args.dst);
  const tensors = [
    src.tensor,
    args.foldScale?.exponents ?? null,
    stochastic?.scalars ?? null,
    position,
    dst.mantissas,
    dst.high,
    dst.exponents,
    dst.width,
  ];
  const site = stochastic?.site ?? 0;
  const foldRows = args.foldScale?.rows ?? 0;
  const shared = [nb, site, foldRows, dst.rows, row, dst.stride];
  if (src.colStride === 1 && !dst.transposed) {
    const [, s0, , s1] = src.batch;
    const total = dst.batch * src.rows;
    const { threads, rows } = rowBlock(src.cols);
    const aligned = quads(src.offset, s0, s1, src.rowStride) ? 1 : 0;
    return [
      {
        kernel: rowsKernel,
        args: [...tensors, ...viewWords(src), src.rows, src.cols, total, ...shared, aligned],
        grid: [Math.ceil(total / rows), 1, 1],
        block: [threads, rows, 1],
      },
    ];
  }
  const blocks = Math.ceil(src.rows / tileRows);
  const down = src.rowStride < src.colStride ? 1 : 0;
  const across = dst.transposed ? 1 : 0;
  return [
    {
      kernel: tileKernel,
      args: [...tensors, ...viewWords(src), src.rows, src.cols, blocks, ...shared, down, across],
      grid: [dst.batch * blocks, 1, 1],
      block: [256, 1, 1],
    },
  ];
}

/** Threads along a row, so that each keeps what it reads of it, and rows a block. */
export function rowBlock(cols: number): { threads: number; rows: number } {
  const threads = Math.min(1024, 32 * Math.ceil(cols / (16 * 32)));
  return { threads, rows: Math.max(1, Math.floor(256 / threads)) };
}
