/**
 * Which tile a product gets on CUDA, and into how many parts its contraction is cut: pure functions of its shape and of the GPU.
 *
 * None of it can change a bit, since sums are exact integers. The weights are estimates (multiply-adds of one multiprocessor), not measurements: no GPU was
 * at hand when they were written.
 */
import type { Bits } from '../quantize/spec.ts';

export interface CudaTile {
  /** Rows and columns of a block, and of each of its warps. */
  readonly BM: number;
  readonly BN: number;
  readonly WM: number;
  readonly WN: number;
  /** Stages of the pipeline of copies. */
  readonly stages: number;
  /** Whether i32 sums go to i64 from time to time, so that a contraction of any length is exact. */
  readonly flush: boolean;
  /** Blocks that a multiprocessor holds at once, and how well they use it. */
  readonly resident: number;
  readonly efficiency: number;
}

const small = { BM: 64, BN: 64, WM: 32, WN: 32, stages: 3, flush: false, resident: 4, efficiency: 0.5 };
const long: CudaTile = { ...small, flush: true, resident: 2, efficiency: 0.4 };
const middle = { BM: 128, BN: 128, WM: 64, WN: 64, stages: 4, flush: false, resident: 2, efficiency: 0.85 };
const large = { BM: 128, BN: 256, WM: 64, WN: 64, stages: 4, flush: false, resident: 1, efficiency: 1 };
/** Three sets of sums: half the rows a warp; and i64 in the end anyway, so that the small tile may as well flush. */
const largeWide = { BM: 128, BN: 128, WM: 32, WN: 64, stages: 3, flush: false, resident: 1, efficiency: 1 };
const smallWide = { ...long, efficiency: 0.5 };

/** Tiles of a width, all of which give the same bits; the last one takes any contraction. */
export const cudaTiles: Record<Bits, readonly CudaTile[]> = {
  7: [small, middle, large, long],
  10: [largeWide, smallWide],
  15: [largeWide, smallWide],
};

/** Longest contraction whose i32 sums hold, a multiple of 64: gemm-tile.cuh. */
export const cudaSpans: Record<Bits, number> = { 7: 133_120, 10: 932_032, 15: 65_536 };

/** Steps of the contraction that a block's beginning and end are worth. */
const blockSteps = 128;
/** Shortest part that a contraction is cut into, and most parts. */
const partMin = 512;
const partsMax = 16;
/** What another launch costs. */
const launchWork = 2 ** 23;

export interface CudaProduct {
  batch: number;
  M: number;
  N: number;
  K: number;
  nb: Bits;
}

export interface CudaChoice {
  readonly tile: CudaTile;
  /** Parts of the contraction, each of `span` but the last. */
  readonly splits: number;
  readonly span: number;
}

/** The span of `splits` parts, or of as many as it takes with none empty. */
export function cut(K: number, splits: number): { splits: number; span: number } {
  const span = Math.ceil(K / splits / 64) * 64;
  return { splits: Math.ceil(K / span), span };
}

/** Bytes of shared memory that a block takes: its stages, or what it hands its results over in. */
export function sharedBytes({ BM, BN, WM, WN, stages, flush }: CudaTile, nb: Bits): number {
  const planes = nb === 7 ? 1 : 2;
  const warps = (BM / WM) * (BN / WN);
  const staged = warps * 16 * (WN + 8) * (nb === 7 && !flush ? 4 : 8);
  return Math.max(stages * planes * (BM + BN) * 64, staged);
}

export const threadsOf = ({ BM, BN, WM, WN }: CudaTile): number => 32 * (BM / WM) * (BN / WN);

/** What a product takes of each multiprocessor, in multiply-adds. */
function work(p: CudaProduct, tile: CudaTile, splits: number, multiprocessors: number): number {
  const { BM, BN, resident, efficiency } = tile;
  const blocks = p.batch * Math.ceil(p.M / BM) * Math.ceil(p.N / BN) * splits;
  // A multiprocessor that holds fewer blocks than it could is no faster with each.
  const rounds = Math.ceil(blocks / (multiprocessors * resident)) * resident;
  const product = (rounds * BM * BN * (p.K / splits + blockSteps)) / efficiency;
  const shared = ((p.batch * p.M * p.N) / multiprocessors) * (32 * splits + 256) + launchWork;
  return splits === 1 ? product : product + shared;
}

/** The tile and the parts that should take least time; one part where it `maySplit` no contraction. */
export function chooseTile(
  product: CudaProduct,
  multiprocessors: number,
  sharedMax: number,
  maySplit = true,
): CudaChoice {
  const { K, nb } = product;
  const holds = cudaTiles[nb].filter(({ flush }) => flush || K <= cudaSpans[nb]);
  let best: CudaChoice | null = null;
  let least = Infinity;
  for (const tile of holds) {
    if (sharedBytes(tile, nb) > sharedMax) continue;
    for (let parts = 1; parts === 1 || (maySplit && parts <= partsMax && K / parts >= partMin); parts *= 2) {
      const choice = { tile, ...cut(K, parts) };
      const cost = work(product, tile, choice.splits, multiprocessors);
      if (cost < least) [best, least] = [choice, cost];
    }
  }
  return best ?? { tile: holds.at(-1) as CudaTile, ...cut(K, 1) };
}
