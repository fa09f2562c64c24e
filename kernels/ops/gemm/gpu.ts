/** GEMM on WebGPU: which kernel, how long its exact sums may be, and the grid of tiles. */
import {
  distinct,
  type GpuOperand,
  kernel,
  type Pass,
  type PassContext,
  viewWords,
} from '../../device/webgpu-pass.ts';
import { matrix, type Tensor, transpose, type View } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';
import epilogueBody from './gemm-epilogue.wgsl?raw';
import i15Body from './gemm-i15.wgsl?raw';
import fourRows from './four-rows.wgsl?raw';
import fourRowsSwapped from './four-rows-swapped.wgsl?raw';
import directBody from './gemm-direct.wgsl?raw';
import tile from './gemm-tile.wgsl?raw';
import body from './gemm.wgsl?raw';
import { causalReach, checkGemm, type GemmArgs, gemmShape, hasEpilogue } from './spec.ts';

const narrow = kernel('gemm', `${tile}\n${body}`, 'rrrrrw');
const wide = kernel('gemm-i15', `${tile}\n${i15Body}`, 'rrrrrw');
const direct = kernel('gemm-direct', `${fourRows}\n${directBody}`, 'rrrrrw');
const directSwapped = kernel('gemm-direct', `${fourRowsSwapped}\n${directBody}`, 'rrrrrw', 'subgroups');
const epilogue = kernel('gemm-epilogue', epilogueBody, 'rrrrww');

/** The kernel of each width, and its longest exact sum in vec4 steps (see the kernels). */
const variants = {
  7: { kernel: narrow, span: 32_768 },
  10: { kernel: narrow, span: 512 },
  15: { kernel: wide, span: 1024 },
} as const satisfies Record<Bits, unknown>;

/** Multiply-adds in one dispatch at most: a fraction of a second on a slow GPU, where a watchdog waits two. */
const workMax = 2 ** 33;

/** What a tuned shape is good for: another text is tried anew. */
export const tunedText = narrow.code;

/** The products, and the epilogue as a pass of its own over their rounded sums in scratch. */
export function gemmPasses(args: GemmArgs, context: PassContext): Pass[] {
  checkGemm(args);
  if (!hasEpilogue(args)) return productPasses(args, context);
  const { a, b, dst, nb, causal, length } = args;
  const { batch, M, N } = gemmShape(args);
  const sums = context.scratch('gemm', batch * M * N);
  const plain: GemmArgs = { a, b, dst: { ...matrix(sums, M, N), batch: [batch, M * N, 1, 0] }, nb };
  if (causal) plain.causal = causal;
  if (length !== undefined) plain.length = length;
  return [...productPasses(plain, context), epiloguePass(args, sums, dst, context)];
}

const activations = { gelu: 1, silu: 2 } as const;

function epiloguePass(args: GemmArgs, sums: Tensor, dst: View, context: PassContext): Pass {
  const { bias, activation, preactivation, activationGrad, residual } = args;
  const { batch, M, N } = gemmShape(args);
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  const kind = activation ?? activationGrad?.kind;
  return {
    kernel: epilogue,
    buffers: [
      sums,
      bias ?? null,
      activationGrad?.x ?? null,
      other,
      preactivation ?? context.scratch('gemm preactivation', 1),
      dst.tensor,
    ],
    constants: {
      BIASED: bias ? 1 : 0,
      KIND: kind ? activations[kind] + (activationGrad ? 2 : 0) : 0,
      KEEP: preactivation ? 1 : 0,
      RESIDUAL: residual ? (inPlace ? 1 : 2) : 0,
    },
    uniforms: [...viewWords(dst), M, N, batch],
    workgroups: Math.ceil((batch * M * Math.ceil(N / 4)) / 64),
  };
}

/** Whether gemm-direct.wgsl holds the sums: see there. */
function fitsDirect({ a, b, nb, length }: GemmArgs, K: number): boolean {
  const inside = K < a.cols && K < (b.transposed ? b.rows : b.cols);
  return nb < 15 && K * qmaxOf[nb] ** 2 < 2 ** 31 && !(length !== undefined && inside && K % 4 > 0);
}

/** Rows and columns of a tile of gemm-direct.wgsl. */
const directTile = { rows: 16, cols: 64 } as const;

function directPasses(args: GemmArgs, { subgroups }: PassContext): Pass[] {
  const { nb, residual } = args;
  const shape = gemmShape(args);
  const padded = (rows: number, cols: number) =>
    Math.ceil(rows / directTile.rows) * directTile.rows * Math.ceil(cols / directTile.cols) * directTile.cols;
  // The transposed product has the same sums: a tile is wider than high, so one of the two wastes less of it.
  const turned = !causalReach(args) && padded(shape.N, shape.M) < padded(shape.M, shape.N);
  const [a, b] = (turned ? [args.b, args.a] : [args.a, args.b]) as [GpuOperand, GpuOperand];
  const [M, N] = turned ? [shape.N, shape.M] : [shape.M, shape.N];
  const dst = turned ? transpose(args.dst) : args.dst;
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  distinct('gemm', [dst.tensor], [other]);
  const tilesM = Math.ceil(M / directTile.rows);
  const tilesN = Math.ceil(N / directTile.cols);
  const steps = Math.ceil(shape.K / 4);
  const strides = [a.lines, b.lines, a.stride / 4, b.stride / 4];
  const uniforms = [...viewWords(dst), M, N, steps, ...strides, nb, causalReach(args), tilesM, tilesN];
  const constants = {
    RESIDUAL: residual ? (inPlace ? 1 : 2) : 0,
    CAUSAL: causalReach(args) ? 1 : 0,
    SHORT: shape.K * qmaxOf[nb] ** 2 <= 2 ** 24 ? 1 : 0,
    FOLDED: args.b.transposed ? (turned ? 2 : 1) : 0,
  };
  return tiled(shape.batch * tilesM * tilesN, directTile.rows * directTile.cols * shape.K, {
    kernel: subgroups ? directSwapped : direct,
    constants,
    buffers: [a.mantissas, a.exponents, b.mantissas, b.exponents, other, dst.tensor],
    uniforms,
  });
}

/** One line of a grid each, so that no invocation is past the dispatch's last tile: it would be another dispatch's. */
function tiled(tiles: number, tileWork: number, pass: Omit<Pass, 'workgroups'>): Pass[] {
  const tilesMax = Math.min(65_535, Math.max(1, Math.floor(workMax / tileWork)));
  return Array.from({ length: Math.ceil(tiles / tilesMax) }, (_, i) => {
    const first = i * tilesMax;
    const workgroups = Math.min(tilesMax, tiles - first);
    return { ...pass, uniforms: [...pass.uniforms, first], workgroups, work: workgroups * tileWork };
  });
}

function productPasses(args: GemmArgs, context: PassContext): Pass[] {
  const { K: length } = gemmShape(args);
  if (context.software && context.f32 && fitsDirect(args, length)) return directPasses(args, context);
  const { nb, dst, residual } = args;
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const { batch, M, N, K } = gemmShape(args);
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  distinct('gemm', [dst.tensor], [other]);
  const variant = variants[nb];
  const workgroup = context.gemm;
  const inside = K < a.cols && K < (b.transposed ? b.rows : b.cols);
  const constants = { ...workgroup, TAIL: inside && K % 4 > 0 ? 1 : 0 };
  const strides = [a.lines, b.lines, a.stride / 4, b.stride / 4];
  const flags = [causalReach(args), residual ? (inPlace ? 1 : 2) : 0, b.transposed ? 1 : 0];
  const tiles = batch * Math.ceil(N / (8 * workgroup.WX)) * Math.ceil(M / (8 * workgroup.WY));
  const steps = [Math.ceil(K / 4), K % 4 || 4];
  const uniforms = [...viewWords(dst), M, N, ...steps, ...strides, batch, nb, variant.span, ...flags];
  const tileWork = 64 * workgroup.WX * workgroup.WY * K;
  return tiled(tiles, tileWork, {
    kernel: variant.kernel,
    constants,
    buffers: [a.mantissas, a.exponents, b.mantissas, b.exponents, other, dst.tensor],
    uniforms,
  });
}
