/** Embedding on CUDA: gather, and the scatter-add as two kernels over a scratch of integers. */
import { type Launch, type LaunchContext, line, operand } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf, quads } from '../math/cuda.ts';
import embedBody from './embed.cu?raw';
import scatterBody from './scatter-add.cu?raw';
import type { EmbedArgs, ScatterAddArgs } from './spec.ts';

export const embedSource = cudaSource('embed', embedBody);
export const scatterAddSource = cudaSource('scatter-add', scatterBody);

const embedKernel = entryOf(embedSource, 'embed');
const embed4Kernel = entryOf(embedSource, 'embed4');
const addKernel = entryOf(scatterAddSource, 'scatter_add');
const roundKernel = entryOf(scatterAddSource, 'scatter_round');

export function embedLaunches({ tokens, wte, wpe, positions, x, rows, cols, T }: EmbedArgs): Launch[] {
  const wide = quads(cols);
  const steps = wide ? cols / 4 : cols;
  const has = (table: { size: number }) => Math.floor(table.size / cols);
  return [
    {
      kernel: wide ? embed4Kernel : embedKernel,
      args: [
        ...[tokens, wte, wpe ?? null, positions ?? null, x],
        ...[rows, steps, T, has(wte), wpe ? has(wpe) : 0],
      ],
      ...line(rows * steps),
    },
  ];
}

export function scatterAddLaunches(args: ScatterAddArgs, context: LaunchContext): Launch[] {
  const { indices, dst, nb, accumulate } = args;
  const q = operand(args.q);
  const sums = context.scratch('scatter', dst.size);
  const columns = Math.ceil(q.rows / 32);
  const warps = columns * Math.ceil(q.cols / 32);
  return [
    {
      kernel: addKernel,
      args: [
        ...[q.mantissas, q.high, indices, sums],
        ...[q.rows, q.cols, q.stride, dst.size / q.rows, nb, columns],
      ],
      grid: [Math.ceil(warps / 8), 1, 1],
      block: [256, 1, 1],
    },
    {
      kernel: roundKernel,
      args: [sums, q.exponents, dst, q.rows, dst.size, nb, accumulate ? 1 : 0],
      ...line(dst.size),
    },
  ];
}
