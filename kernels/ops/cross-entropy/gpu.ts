/** Softmax cross-entropy on WebGPU. */
import { bitsOf, distinct, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { checkRowLength, rowGrid, rowKernel, rowShape } from '../reduce/gpu.ts';
import body from './cross-entropy.wgsl?raw';
import type { CrossEntropyArgs } from './spec.ts';

const crossEntropyKernel = rowKernel('cross-entropy', body, 'wrw');

export function crossEntropyPasses(args: CrossEntropyArgs, context: PassContext): Pass[] {
  const { logits, targets, losses, rows, V, gradientScale } = args;
  checkRowLength('crossEntropy', V);
  distinct('crossEntropy', [logits, losses], [targets]);
  return [
    {
      kernel: crossEntropyKernel,
      buffers: [logits, targets, losses],
      uniforms: [rows, V, gradientScale === undefined ? 0 : 1, bitsOf(gradientScale ?? 0)],
      ...rowGrid(rows, rowShape(V, context)),
    },
  ];
}
