/** GEMM on WebGPU: which kernel, how long its exact sums may be, and the grid of tiles. */
import {
  distinct,
  type GpuOperand,
  kernel,
  type Pass,
  type PassContext,
  viewWords,
} from '../../device/webgpu-pass.ts';
import { matrix, type Tensor, type View } from '../../tensor/tensor.ts';
import type { Bits } from '../quantize/spec.ts';
import epilogueBody from './gemm-epilogue.wgsl?raw';
import i15Body from './gemm-i15.wgsl?raw';
import tile from './gemm-tile.wgsl?raw';
import body from './gemm.wgsl?raw';
import { causalReach, checkGemm, type GemmArgs, gemmShape, hasEpilogue } from './spec.ts';

const narrow = kernel('gemm', `${tile}\n${body}`, 'rrrrrw');
const wide = kernel('gemm-i15', `${tile}\n${i15Body}`, 'rrrrrw');
const epilogue = kernel('gemm-epilogue', epilogueBody, 'rrrrww');

/** The kernel of each width, and its longest exact sum in vec4 steps (see the kernels). */
const variants = {
  7: { kernel: narrow, span: 32_768 },
  10: { kernel: narrow, span: 512 },
  15: { kernel: wide, span: 1024 },
} as const satisfies Record<Bits, unknown>;

/** Multiply-adds in one dispatch at most: a fraction of a second on a slow GPU, where a watchdog waits two. */
const workMax = 2 ** 33;

/** Invocations of a workgroup, along columns and rows; each computes 8 x 8. */
const workgroup = { WX: 8, WY: 8 } as const;

/** The products, and the epilogue as a pass of its own over their rounded sums in scratch. */
export function gemmPasses(args: GemmArgs, context: PassContext): Pass[] {
  checkGemm(args);
  if (!hasEpilogue(args)) return productPasses(args);
  const { a, b, dst, nb, causal, length } = args;
  const { batch, M, N } = gemmShape(args);
  const sums = context.scratch('gemm', batch * M * N);
  const plain: GemmArgs = { a, b, dst: { ...matrix(sums, M, N), batch: [batch, M * N, 1, 0] }, nb };
  if (causal) plain.causal = causal;
  if (length !== undefined) plain.length = length;
  return [...productPasses(plain), epiloguePass(args, sums, dst, context)];
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
    uniforms: [
      ...viewWords(dst),
      M,
      N,
      batch,
      bias ? 1 : 0,
      kind ? activations[kind] + (activationGrad ? 2 : 0) : 0,
      preactivation ? 1 : 0,
      residual ? (inPlace ? 1 : 2) : 0,
    ],
    workgroups: Math.ceil((batch * M * N) / 256),
  };
}

function productPasses(args: GemmArgs): Pass[] {
  const { nb, dst, residual } = args;
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const { batch, M, N, K } = gemmShape(args);
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  distinct('gemm', [dst.tensor], [other]);
  const variant = variants[nb];
  const inside = K < a.cols && K < (b.transposed ? b.rows : b.cols);
  const constants = { ...workgroup, TAIL: inside && K % 4 > 0 ? 1 : 0 };
  const strides = [a.lines, b.lines, a.stride / 4, b.stride / 4];
  const flags = [causalReach(args), residual ? (inPlace ? 1 : 2) : 0, b.transposed ? 1 : 0];
  const tiles = batch * Math.ceil(N / (8 * workgroup.WX)) * Math.ceil(M / (8 * workgroup.WY));
  const steps = [Math.ceil(K / 4), K % 4 || 4];
  const uniforms = [...viewWords(dst), M, N, ...steps, ...strides, batch, nb, variant.span, ...flags];
  const tileWork = 64 * workgroup.WX * workgroup.WY * K;
  // One line of a grid, so that no invocation is past the dispatch's last tile: it would be another dispatch's.
  const tilesMax = Math.min(65_535, Math.max(1, Math.floor(workMax / tileWork)));
  return Array.from({ length: Math.ceil(tiles / tilesMax) }, (_, i) => {
    const first = i * tilesMax;
    const workgroups = Math.min(tilesMax, tiles - first);
    return {
      kernel: variant.kernel,
      constants,
      buffers: [a.mantissas, a.exponents, b.mantissas, b.exponents, other, dst.tensor],
      uniforms: [...uniforms, first],
      workgroups,
      work: workgroups * tileWork,
    };
  });
}
