/** A mixture of experts on CUDA; its products are in grouped-cuda.ts. */
import type { CudaKernel, Launch, LaunchContext } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf, quads } from '../math/cuda.ts';
import warp from '../reduce/warp.cuh?raw';
import routeBody from './route.cu?raw';
import sortBody from './route-sort.cu?raw';
import rowsBody from './rows.cu?raw';
import type { CombineArgs, CombineGradArgs, GatherRowsArgs, RouteArgs, RouteGradArgs } from './spec.ts';

export const routeSource = cudaSource('route', routeBody);
export const routeSortSource = cudaSource('route-sort', sortBody);
export const moeRowsSource = cudaSource('moe-rows', warp, rowsBody);

const routeKernel = entryOf(routeSource, 'route');
const routeGradKernel = entryOf(routeSource, 'route_grad');
const countKernel = entryOf(routeSortSource, 'route_count');
const offsetsKernel = entryOf(routeSortSource, 'route_offsets');
const placeKernel = entryOf(routeSortSource, 'route_place');
const combineGradKernel = entryOf(moeRowsSource, 'combine_grad');

/** Slots that a warp sorts at least, and such spans at most: route_offsets is one block over spans * E counts. */
const spanMin = 128;
const spansMax = 256;

/** A warp for each of `items`, eight in a block. */
function warps(items: number): Pick<Launch, 'grid' | 'block'> {
  return { grid: [Math.ceil(items / 8), 1, 1], block: [32, 8, 1] };
}

/** A row for as many threads as it has use for, 256 in a block: `name` by columns, `name4` by fours where rows are aligned to them. */
function rowsByVectors(name: string, rows: number, cols: number) {
  const wide = quads(cols);
  const steps = wide ? cols / 4 : cols;
  const threads = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(steps / 2))));
  const perBlock = 256 / threads;
  const kernel: CudaKernel = entryOf(moeRowsSource, wide ? `${name}4` : name);
  return {
    steps,
    launch: {
      kernel,
      grid: [Math.ceil(rows / perBlock), 1, 1] as const,
      block: [threads, perBlock, 1] as const,
    },
  };
}

export function routeLaunches(args: RouteArgs, context: LaunchContext): Launch[] {
  const { logits, M, E, k, ids, gates, order, places, offsets } = args;
  const slots = M * k;
  const span = Math.max(spanMin, Math.ceil(slots / spansMax / 32) * 32);
  const spans = Math.ceil(slots / span);
  const counts = context.scratch('route', E * spans);
  const byWarp = { grid: [spans, 1, 1], block: [32, 1, 1], shared: 4 * E } as const;
  return [
    { kernel: routeKernel, args: [logits, ids, gates, M, E, k], ...warps(M) },
    { kernel: countKernel, args: [ids, counts, slots, E, span], ...byWarp },
    { kernel: offsetsKernel, args: [counts, offsets, E, spans], grid: [1, 1, 1], block: [1024, 1, 1] },
    { kernel: placeKernel, args: [ids, counts, order, places, slots, E, span], ...byWarp },
  ];
}

export function routeGradLaunches({ ids, gates, dgates, dlogits, M, E, k }: RouteGradArgs): Launch[] {
  return [{ kernel: routeGradKernel, args: [ids, gates, dgates, dlogits, M, E, k], ...warps(M) }];
}

export function gatherRowsLaunches({ src, order, dst, M, k, cols }: GatherRowsArgs): Launch[] {
  const { steps, launch } = rowsByVectors('gather_rows', M * k, cols);
  return [{ args: [src, order, dst, M * k, k, steps], ...launch }];
}

export function combineLaunches(args: CombineArgs): Launch[] {
  const { rows, places, gates, residual, y, M, k, cols } = args;
  const { steps, launch } = rowsByVectors('combine', M, cols);
  return [{ args: [rows, places, gates ?? null, residual ?? null, y, M, k, steps], ...launch }];
}

export function combineGradLaunches(args: CombineGradArgs): Launch[] {
  const { dy, rows, places, gates, drows, dgates, M, k, cols } = args;
  return [
    {
      kernel: combineGradKernel,
      args: [dy, rows, places, gates, drows, dgates, M * k, k, cols],
      ...warps(M * k),
    },
  ];
}
