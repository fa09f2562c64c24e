/** Softmax cross-entropy on WebGPU. */
import { bitsOf, distinct, type Pass } from '../../device/webgpu-pass.ts';
import { checkRowLength, rowKernel } from '../reduce/gpu.ts';
import body from './cross-entropy.wgsl?raw';
import type { CrossEntropyArgs } from './spec.ts';

const crossEntropyKernel = rowKernel('cross-entropy', body, 'wrw');

export function crossEntropyPasses(args: CrossEntropyArgs): Pass[] {
  const { logits, targets, losses, rows, V, gradientScale } = args;
  checkRowLength('crossEntropy', V);
  distinct('crossEntropy', [logits, losses], [targets]);
  return [
    {
      kernel: crossEntropyKernel,
      constants: { GRADIENT: gradientScale === undefined ? 0 : 1 },
      buffers: [logits, targets, losses],
      uniforms: [rows, V, bitsOf(gradientScale ?? 0)],
      workgroups: rows,
    },
  ];
}
