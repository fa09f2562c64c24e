/** A mixture of experts on WebGPU. */
import { distinct, type GpuOperand, kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import type { Bits } from '../quantize/spec.ts';
import { rowGrid, rowKernel, rowShape } from '../reduce/gpu.ts';
import combineGradBody from './combine-grad.wgsl?raw';
import combineBody from './combine.wgsl?raw';
import gatherBody from './gather-rows.wgsl?raw';
import groupedBody from './grouped-gemm.wgsl?raw';
import routeGradBody from './route-grad.wgsl?raw';
import offsetsBody from './route-offsets.wgsl?raw';
import slotsBody from './route-slots.wgsl?raw';
import routeBody from './route.wgsl?raw';
import {
  type CombineArgs,
  type CombineGradArgs,
  type GatherRowsArgs,
  type GroupedGemmArgs,
  groupedShape,
  type RouteArgs,
  type RouteGradArgs,
} from './spec.ts';

const routeKernel = kernel('route', routeBody, 'rww');
const slotsKernel = kernel('route-slots', slotsBody, 'rwww');
const offsetsKernel = kernel('route-offsets', offsetsBody, 'ww');
const routeGradKernel = kernel('route-grad', routeGradBody, 'rrrw');
const gatherKernel = kernel('gather-rows', gatherBody, 'rrw');
const combineKernel = kernel('combine', combineBody, 'rrrrw');
const combineGradKernel = rowKernel('combine-grad', combineGradBody, 'rrrrww');
const groupedKernel = kernel('grouped-gemm', groupedBody, 'rrrrrrw');

/** Blocks of slots that are counted apart, at most: see route-offsets.wgsl. */
const blocksMax = 64;

export function routePasses(args: RouteArgs, context: PassContext): Pass[] {
  const { logits, M, E, k, ids, gates, order, places, offsets } = args;
  const slots = M * k;
  const span = Math.max(64, Math.ceil(slots / blocksMax));
  const blocks = Math.ceil(slots / span);
  const counts = context.scratch('route', E * blocks);
  const sort = (place: boolean): Pass => ({
    kernel: slotsKernel,
    constants: { PLACE: place ? 1 : 0 },
    buffers: [ids, counts, order, places],
    uniforms: [slots, E, blocks, span],
    workgroups: Math.ceil((E * blocks) / 64),
  });
  return [
    {
      kernel: routeKernel,
      buffers: [logits, ids, gates],
      uniforms: [M, E, k],
      workgroups: Math.ceil(M / 64),
    },
    sort(false),
    { kernel: offsetsKernel, buffers: [counts, offsets], uniforms: [E, blocks], workgroups: 1 },
    sort(true),
  ];
}

export function routeGradPasses(args: RouteGradArgs): Pass[] {
  const { ids, gates, dgates, dlogits, M, E, k } = args;
  return [
    {
      kernel: routeGradKernel,
      buffers: [ids, gates, dgates, dlogits],
      uniforms: [M, E, k],
      workgroups: Math.ceil(M / 64),
    },
  ];
}

export function gatherRowsPasses(args: GatherRowsArgs): Pass[] {
  const { src, order, dst, M, k, cols } = args;
  return [
    {
      kernel: gatherKernel,
      buffers: [src, order, dst],
      uniforms: [M * k, k, cols],
      workgroups: Math.ceil((M * k * cols) / 256),
    },
  ];
}

export function combinePasses(args: CombineArgs): Pass[] {
  const { rows, places, gates, residual, y, M, k, cols } = args;
  const inPlace = residual === y;
  return [
    {
      kernel: combineKernel,
      buffers: [rows, places, gates ?? null, inPlace ? null : (residual ?? null), y],
      uniforms: [M, k, cols, gates ? 1 : 0, residual ? (inPlace ? 1 : 2) : 0],
      workgroups: Math.ceil((M * cols) / 256),
    },
  ];
}

export function combineGradPasses(args: CombineGradArgs, context: PassContext): Pass[] {
  const { dy, rows, places, gates, drows, dgates, M, k, cols } = args;
  return [
    {
      kernel: combineGradKernel,
      buffers: [dy, rows, places, gates, drows, dgates],
      uniforms: [M * k, k, cols],
      ...rowGrid(M * k, rowShape(cols, context)),
    },
  ];
}

/** vec4 steps whose sums fit i32: see the kernel. */
const spans: Record<Bits, number> = { 7: 32_768, 10: 512, 15: 8192 };

/** Multiply-adds in one dispatch at most, as in gemm/gpu.ts. */
const workMax = 2 ** 33;

export function groupedGemmPasses(args: GroupedGemmArgs): Pass[] {
  const { kind, offsets, dst, nb, residual } = args;
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const { E, M, N, K } = groupedShape(args);
  const inPlace = residual === dst;
  distinct('groupedGemm', [dst], [a.mantissas, a.exponents, b.mantissas, b.exponents]);
  const contraction = kind === 'contraction';
  // An expert's last tile of rows may be part of one; so may that of rows without an expert.
  const tilesM = contraction ? E * Math.ceil(M / 4) : Math.ceil(M / 4) + E + 1;
  const workgroups = Math.ceil((tilesM * Math.ceil(N / 4)) / 64);
  const most = Math.min(65_535, Math.max(1, Math.floor(workMax / (1024 * K))));
  return Array.from({ length: Math.ceil(workgroups / most) }, (_, i) => ({
    kernel: groupedKernel,
    constants: { CONTRACTION: contraction ? 1 : 0, WIDE: nb === 15 ? 1 : 0 },
    buffers: [
      a.mantissas,
      a.exponents,
      b.mantissas,
      b.exponents,
      offsets,
      inPlace ? null : (residual ?? null),
      dst,
    ],
    uniforms: [M, N, a.stride / 4, E, nb, spans[nb], residual ? (inPlace ? 1 : 2) : 0, i * most * 64],
    workgroups: Math.min(most, workgroups - i * most),
    work: Math.min(most, workgroups - i * most) * 1024 * K,
  }));
}
