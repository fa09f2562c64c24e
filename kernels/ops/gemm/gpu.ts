/** GEMM on WebGPU: which kernel, how long its exact sums may be, and the grid of tiles. */
import type { GpuOperand, Kernel, Pass, PassContext } from '../../device/webgpu-pass.ts';
import { distinct, kernel, viewWords } from '../../device/webgpu-pass.ts';
import type { Bits } from '../quantize/spec.ts';
import body from './gemm.wgsl?raw';
import { checkGemm, type GemmArgs, gemmShape } from './spec.ts';

const gemmKernel: Kernel = kernel('gemm', body, 'rrrrrw');

/** Sums in vec4 steps: CHUNK in one f32, SPAN in one i32 (see the kernel). */
const sums: Record<Bits, { CHUNK: number; SPAN: number }> = {
  7: { CHUNK: 256, SPAN: 32_768 },
  10: { CHUNK: 4, SPAN: 512 },
  15: { CHUNK: 1, SPAN: 1 },
};

export function gemmPasses(args: GemmArgs, _context: PassContext): Pass[] {
  checkGemm(args);
  const { nb, dst, residual } = args;
  const [a, b] = [args.a as GpuOperand, args.b as GpuOperand];
  const { batch, M, N } = gemmShape(args);
  const inPlace = residual === dst.tensor;
  const other = inPlace ? null : (residual ?? null);
  distinct('gemm', [dst.tensor], [other]);
  const tile = { WX: 4, WY: 2 };
  const tiles = Math.ceil(N / (8 * tile.WX)) * Math.ceil(M / (8 * tile.WY));
  return [
    {
      kernel: gemmKernel,
      constants: {
        NB: nb,
        ...sums[nb],
        ...tile,
        CAUSAL: args.causal ? 1 : 0,
        RESIDUAL: inPlace ? 1 : other ? 2 : 0,
        FOLDED: b.transposed ? 1 : 0,
      },
      buffers: [a.mantissas, a.exponents, b.mantissas, b.exponents, other, dst.tensor],
      uniforms: [...viewWords(dst), M, N, a.stride / 4, batch],
      workgroups: tiles * batch,
    },
  ];
}
