/** GEMM on WebGPU: which kernel, how long its exact sums may be, and the grid of tiles. */
import { distinct, type GpuOperand, kernel, type Pass, viewWords } from '../../device/webgpu-pass.ts';
import type { Bits } from '../quantize/spec.ts';
import i15Body from './gemm-i15.wgsl?raw';
import tile from './gemm-tile.wgsl?raw';
import body from './gemm.wgsl?raw';
import { checkGemm, type GemmArgs, gemmShape } from './spec.ts';

const narrow = kernel('gemm', `${tile}\n${body}`, 'rrrrrw');
const wide = kernel('gemm-i15', `${tile}\n${i15Body}`, 'rrrrrw');

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

export function gemmPasses(args: GemmArgs): Pass[] {
  checkGemm(args);
  const { nb, dst, residual, causal } = args;
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const { batch, M, N, K } = gemmShape(args);
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  distinct('gemm', [dst.tensor], [other]);
  const variant = variants[nb];
  const flags = [causal ? 1 : 0, residual ? (inPlace ? 1 : 2) : 0, b.transposed ? 1 : 0];
  const tiles = batch * Math.ceil(N / (8 * workgroup.WX)) * Math.ceil(M / (8 * workgroup.WY));
  const uniforms = [...viewWords(dst), M, N, a.stride / 4, batch, nb, variant.span, ...flags];
  const tileWork = 64 * workgroup.WX * workgroup.WY * K;
  // One line of a grid, so that no invocation is past the dispatch's last tile: it would be another dispatch's.
  const tilesMax = Math.min(65_535, Math.max(1, Math.floor(workMax / tileWork)));
  return Array.from({ length: Math.ceil(tiles / tilesMax) }, (_, i) => {
    const first = i * tilesMax;
    const workgroups = Math.min(tilesMax, tiles - first);
    return {
      kernel: variant.kernel,
      constants: workgroup,
      buffers: [a.mantissas, a.exponents, b.mantissas, b.exponents, other, dst.tensor],
      uniforms: [...uniforms, first],
      workgroups,
      work: workgroups * tileWork,
    };
  });
}
