/** Products of a mixture of experts on CUDA: the tiles of gemm, found by the experts' offsets. */
import {
  type CudaKernel,
  type CudaSource,
  type Launch,
  type LaunchContext,
  operand,
} from '../../device/cuda/launch.ts';
import { productKernels } from '../gemm/cuda.ts';
import { chooseTile, type CudaTile, sharedBytes, threadsOf } from '../gemm/cuda-tiles.ts';
import body from './grouped-gemm.cu?raw';
import { type GroupedGemmArgs, groupedShape } from './spec.ts';

const products = productKernels('grouped-gemm', 'grouped_gemm', body);

export const groupedGemmSources: readonly CudaSource[] = Object.values(products).flatMap((tiles) =>
  [...tiles.values()].map(({ source }) => source),
);

export function groupedGemmLaunches(args: GroupedGemmArgs, context: LaunchContext): Launch[] {
  return groupedGemmLaunchesOf(args, groupedTile(args, context));
}

/** As if the rows, or the positions, were spread evenly over the experts. */
function groupedTile(args: GroupedGemmArgs, { multiprocessors, sharedMax }: LaunchContext): CudaTile {
  const { kind, nb } = args;
  const { E, M, N, K } = groupedShape(args);
  const even = kind === 'rows' ? { M: Math.ceil(M / E), K } : { M, K };
  return chooseTile({ batch: E, N, nb, ...even }, multiprocessors, sharedMax, false).tile;
}

/** The launch with one tile: all tiles give the same bits. */
export function groupedGemmLaunchesOf(args: GroupedGemmArgs, tile: CudaTile): Launch[] {
  const { kind, offsets, dst, nb, residual } = args;
  const [a, b] = [operand(args.a), operand(args.b)];
  const { E, M, N, K } = groupedShape(args);
  const tilesM = Math.ceil(M / tile.BM);
  const tilesN = Math.ceil(N / tile.BN);
  const contraction = kind === 'contraction';
  // An expert's last tile of rows may be part of one; so may that of rows without an expert.
  const tiles = (contraction ? E * tilesM : tilesM + E + 1) * tilesN;
  return [
    {
      kernel: products[nb].get(tile) as CudaKernel,
      args: [
        ...[a.mantissas, a.high, a.exponents, b.mantissas, b.high, b.exponents],
        ...[offsets, residual ?? null, dst],
        ...[M, N, K, E, a.stride, b.stride, contraction ? 1 : 0, tilesM, tilesN],
      ],
      grid: [tiles, 1, 1],
      block: [threadsOf(tile), 1, 1],
      shared: sharedBytes(tile, nb),
    },
  ];
}
