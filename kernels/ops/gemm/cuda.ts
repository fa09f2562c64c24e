/** GEMM on CUDA: which tile, the parameters of its kernel, and the second kernel of a contraction that was cut into parts. */
import {
  type CudaKernel,
  type CudaSource,
  type Launch,
  type LaunchContext,
  operand,
  viewWords,
} from '../../device/cuda/launch.ts';
import { cudaSource, entryOf } from '../math/cuda.ts';
import tensorHeader from '../math/tensor.cuh?raw';
import viewHeader from '../math/view.cuh?raw';
import type { Bits } from '../quantize/spec.ts';
import {
  chooseTile,
  type CudaChoice,
  cudaSpans,
  type CudaTile,
  cudaTiles,
  sharedBytes,
  threadsOf,
} from './cuda-tiles.ts';
import gelu from '../gelu/gelu.cuh?raw';
import silu from '../swiglu/silu.cuh?raw';
import epilogueHeader from './gemm-epilogue.cuh?raw';
import finishBody from './gemm-finish.cu?raw';
import outHeader from './gemm-out.cuh?raw';
import tileHeader from './gemm-tile.cuh?raw';
import body from './gemm.cu?raw';
import { causalReach, type GemmArgs, gemmShape } from './spec.ts';

/** A product kernel for one width and tile: the headers with their constants, then `last`. */
export function productSource(name: string, nb: Bits, tile: CudaTile, last: string): CudaSource {
  const { BM, BN, WM, WN, stages, flush } = tile;
  const label = `${name}-${nb}-${BM}x${BN}${flush ? '-long' : ''}`;
  const constants = [
    `constexpr int NB = ${nb};`,
    `constexpr u32 BM = ${BM}, BN = ${BN}, WM = ${WM}, WN = ${WN};`,
    `constexpr u32 STAGES = ${stages}, FLUSH = ${flush ? cudaSpans[nb] : 0};\n`,
  ].join('\n');
  return cudaSource(
    label,
    viewHeader,
    tensorHeader,
    constants,
    tileHeader,
    gelu,
    silu,
    epilogueHeader,
    outHeader,
    last,
  );
}

/** The same kernel of every width and tile. */
export function productKernels(
  name: string,
  entry: string,
  last: string,
): Record<Bits, Map<CudaTile, CudaKernel>> {
  const of = (nb: Bits) =>
    new Map(cudaTiles[nb].map((tile) => [tile, entryOf(productSource(name, nb, tile, last), entry)]));
  return { 7: of(7), 10: of(10), 15: of(15) };
}

const products = productKernels('gemm', 'gemm', body);
const finishSource = cudaSource('gemm-finish', viewHeader, gelu, silu, epilogueHeader, finishBody);
const finish = entryOf(finishSource, 'gemm_finish');

export const gemmSources: readonly CudaSource[] = [
  ...Object.values(products).flatMap((tiles) => [...tiles.values()].map(({ source }) => source)),
  finishSource,
];

/** Elements that a block of gemm-finish.cu takes: eight warps of four each a thread. */
const finishBlock = 8 * 32 * 4;

export function gemmLaunches(args: GemmArgs, context: LaunchContext): Launch[] {
  const shape = { ...gemmShape(args), nb: args.nb };
  return gemmLaunchesOf(args, chooseTile(shape, context.multiprocessors, context.sharedMax), context);
}

/** The launches of one choice: all choices give the same bits. */
export function gemmLaunchesOf(args: GemmArgs, choice: CudaChoice, context: LaunchContext): Launch[] {
  const { dst, nb, bias, preactivation, activationGrad, residual } = args;
  const { tile, splits, span } = choice;
  const { batch, M, N, K } = gemmShape(args);
  const [a, b] = [operand(args.a), operand(args.b)];
  const [tilesM, tilesN] = [Math.ceil(M / tile.BM), Math.ceil(N / tile.BN)];
  const sums = splits > 1 ? context.scratch('gemm sums', 2 * batch * M * N) : null;
  const others = [
    bias ?? null,
    activationGrad?.x ?? null,
    residual ?? null,
    preactivation ?? null,
    dst.tensor,
  ];
  const folded = b.transposed ? 1 : 0;
  const ends = [folded, causalReach(args), kindOf(args)];
  const product: Launch = {
    kernel: products[nb].get(tile) as CudaKernel,
    args: [
      ...[a.mantissas, a.high, a.exponents, b.mantissas, b.high, b.exponents, sums, ...others],
      ...[...viewWords(dst), M, N, K, a.lines, a.stride, b.lines, b.stride, ...ends],
      ...[tilesM, tilesN, splits, span],
    ],
    grid: [tilesM * tilesN * splits * batch, 1, 1],
    block: [threadsOf(tile), 1, 1],
    shared: sharedBytes(tile, nb),
  };
  if (!sums) return [product];
  const blocks = Math.ceil((M * N) / finishBlock);
  return [
    product,
    {
      kernel: finish,
      args: [
        ...[sums, a.exponents, b.exponents, ...others],
        ...[...viewWords(dst), M, N, nb, a.lines, b.lines, ...ends, blocks],
      ],
      grid: [blocks * batch, 1, 1],
      block: [256, 1, 1],
    },
  ];
}

const kinds = { gelu: 1, silu: 2 } as const;

/** What gemm-epilogue.cuh calls the activation or its gradient. */
function kindOf({ activation, activationGrad }: GemmArgs): number {
  if (activation) return kinds[activation];
  return activationGrad ? kinds[activationGrad.kind] + 2 : 0;
}
