/** GEMM on WebGPU: which kernel, how long its exact sums may be, and the grid of tiles. */
import {
  distinct,
  type GpuOperand,
  type Kernel,
  kernel,
  type Pass,
  type PassContext,
  viewWords,
} from '../../device/webgpu-pass.ts';
import { type GemmConfig, usualConfig } from '../../device/webgpu-gemm-configs.ts';
import { matrix, type Tensor, transpose, type View } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';
import dot4Body from './gemm-dot4.wgsl?raw';
import epilogueBody from './gemm-epilogue.wgsl?raw';
import i15Body from './gemm-i15.wgsl?raw';
import fourRows from './four-rows.wgsl?raw';
import fourRowsSwapped from './four-rows-swapped.wgsl?raw';
import directBody from './gemm-direct.wgsl?raw';
import operands from './gemm-operands.wgsl?raw';
import packBody from './gemm-pack.wgsl?raw';
import packed from './gemm-packed.wgsl?raw';
import sharedBody from './gemm-shared.wgsl?raw';
import tile from './gemm-tile.wgsl?raw';
import body from './gemm.wgsl?raw';
import { causalReach, type GemmArgs, gemmShape, hasEpilogue } from './spec.ts';

const narrow = kernel('gemm', `${tile}\n${operands}\n${body}`, 'rrrrrw');
const wide = kernel('gemm-i15', `${tile}\n${operands}\n${i15Body}`, 'rrrrrw');
const pack = kernel('gemm-pack', packBody, 'rw');
/** By configuration: the lengths of arrays in workgroup memory are part of the text. */
const staged = new Map<GemmConfig, Kernel>();
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

/** What a tuned choice is good for: another text is tried anew. */
export const tunedText = [tile, operands, body, i15Body, sharedBody, packed, dot4Body, packBody].join('\n');

/** The kernel of a configuration that stages its operands in workgroup memory. */
function stagedKernel(config: GemmConfig): Kernel {
  let made = staged.get(config);
  if (!made) {
    const { kind, WX, WY, BK4 } = config;
    const sizes = `const BK4 = ${BK4}u;\nconst a_tile_length = ${8 * WY * BK4};\nconst b_tile_length = ${8 * WX * BK4};\n`;
    const code =
      kind === 'dot4' ? `${packed}\n${sizes}\n${dot4Body}` : `${operands}\n${sizes}\n${sharedBody}`;
    made = kernel(`gemm-${kind} ${8 * WY}x${8 * WX}x${BK4}`, `${tile}\n${code}`, 'rrrrrw');
    staged.set(config, made);
  }
  return made;
}

/** The products, and the epilogue as a pass of its own over their rounded sums in scratch. */
export function gemmPasses(args: GemmArgs, context: PassContext): Pass[] {
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
  const config = context.gemm(args.nb);
  if (config.kind === 'dot4' && fitsPacked(args, config)) return packedPasses(args, config, context);
  return tilePasses(args, config.kind === 'dot4' ? usualConfig : config);
}

/** Passes of the kernels for real GPUs over operands as QUANT writes them. */
function tilePasses(args: GemmArgs, config: GemmConfig): Pass[] {
  const { nb } = args;
  const { K } = gemmShape(args);
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const variant = variants[nb];
  const steps = Math.ceil(K / 4);
  const inside = K < a.cols && K < (b.transposed ? b.rows : b.cols);
  const tail = { TAIL: inside && K % 4 > 0 ? 1 : 0 };
  const isStaged = config.kind === 'shared' && nb < 15;
  return tiledProduct(args, config, {
    kernel: isStaged ? stagedKernel(config) : variant.kernel,
    constants: isStaged ? { ...tail, ONE: steps <= variant.span ? 1 : 0 } : tail,
    mantissas: [a.mantissas, b.mantissas],
    steps,
    last: K % 4 || 4,
    strides: [a.stride / 4, b.stride / 4],
    span: variant.span,
  });
}

/** Whether gemm-dot4.wgsl holds the sums, and packing costs little beside the product. */
function fitsPacked(args: GemmArgs, { least = 1 }: GemmConfig): boolean {
  const { M, N, K } = gemmShape(args);
  return args.nb === 7 && K * qmaxOf[7] ** 2 < 2 ** 31 && Math.min(M, N) >= least;
}

/** Both operands packed into scratch, then their product. */
function packedPasses(args: GemmArgs, config: GemmConfig, context: PassContext): Pass[] {
  const { K } = gemmShape(args);
  const steps = Math.ceil(K / 16);
  const pairs = [args.a as GpuOperand, args.b as GpuOperand].map((operand, i) => {
    const lines = operand.batch * operand.lines;
    const words = context.scratch(`gemm packed ${i}`, lines * steps * 4);
    const pass: Pass = {
      kernel: pack,
      buffers: [operand.mantissas, words],
      uniforms: [lines, steps * 4, Math.ceil(K / 4), K % 4 || 4, operand.stride / 4],
      workgroups: Math.ceil((lines * steps * 4) / 64),
    };
    return { words, pass };
  });
  const products = tiledProduct(args, config, {
    kernel: stagedKernel(config),
    constants: {},
    mantissas: pairs.map(({ words }) => words),
    steps,
    last: 4,
    strides: [steps, steps],
    span: steps,
  });
  return [...pairs.map(({ pass }) => pass), ...products];
}

interface Product {
  kernel: Kernel;
  constants: Readonly<Record<string, number>>;
  mantissas: readonly Tensor[];
  /** vec4 of the contraction, what of the last one counts, and vec4 from one line to the next. */
  steps: number;
  last: number;
  strides: readonly number[];
  span: number;
}

function tiledProduct(args: GemmArgs, { WX, WY }: GemmConfig, product: Product): Pass[] {
  const { nb, dst, residual } = args;
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const { batch, M, N, K } = gemmShape(args);
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  distinct('gemm', [dst.tensor], [other]);
  const { mantissas, steps, last, strides, span } = product;
  const flags = [causalReach(args), residual ? (inPlace ? 1 : 2) : 0, b.transposed ? 1 : 0];
  const tiles = batch * Math.ceil(N / (8 * WX)) * Math.ceil(M / (8 * WY));
  const shape = [M, N, steps, last, a.lines, b.lines, ...strides, batch, nb, span];
  return tiled(tiles, 64 * WX * WY * K, {
    kernel: product.kernel,
    constants: { WX, WY, ...product.constants },
    buffers: [mantissas[0] as Tensor, a.exponents, mantissas[1] as Tensor, b.exponents, other, dst.tensor],
    uniforms: [...viewWords(dst), ...shape, ...flags],
  });
}
