/** Embedding on WebGPU: gather, and the scatter-add in two passes over a scratch of integers. */
import { distinct, type GpuOperand, kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import embedBody from './embed.wgsl?raw';
import addBody from './scatter-add.wgsl?raw';
import roundBody from './scatter-round.wgsl?raw';
import type { EmbedArgs, ScatterAddArgs } from './spec.ts';

const embedKernel = kernel('embed', embedBody, 'rrrrw');
const addKernel = kernel('scatter-add', addBody, 'rrw');
const roundKernel = kernel('scatter-round', roundBody, 'wrw');

export function embedPasses({ tokens, wte, wpe, positions, x, rows, cols, T }: EmbedArgs): Pass[] {
  const [learned, given] = [wpe ?? null, positions ?? null];
  distinct('embed', [x], [tokens, wte, learned, given]);
  return [
    {
      kernel: embedKernel,
      buffers: [tokens, wte, learned, given, x],
      uniforms: [rows, cols, T, learned ? (given ? 2 : 1) : 0],
      workgroups: Math.ceil((rows * cols) / 256),
    },
  ];
}

export function scatterAddPasses(args: ScatterAddArgs, context: PassContext): Pass[] {
  const { indices, dst, nb, accumulate } = args;
  const q = args.q as GpuOperand;
  distinct('scatterAdd', [dst], [q.mantissas, q.exponents, indices]);
  const sums = context.scratch('scatter', dst.size);
  return [
    {
      kernel: addKernel,
      buffers: [q.mantissas, indices, sums],
      uniforms: [q.rows, q.cols, q.stride, dst.size],
      workgroups: Math.ceil((q.rows * q.cols) / 256),
    },
    {
      kernel: roundKernel,
      buffers: [sums, q.exponents, dst],
      uniforms: [q.rows, dst.size, nb, accumulate ? 1 : 0],
      workgroups: Math.ceil(dst.size / 256),
    },
  ];
}
