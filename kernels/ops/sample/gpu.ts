/** Sampling on WebGPU: a workgroup a row. */
import { kernel, type Pass } from '../../device/webgpu-pass.ts';
import body from './sample.wgsl?raw';
import type { SampleArgs } from './spec.ts';

const sampleKernel = kernel('sample', body, 'rrrw');

export function samplePasses(args: SampleArgs): Pass[] {
  const { logits, rows, V, temperature, topK, scalars, site, dst } = args;
  const candidates = topK !== undefined && topK < V ? topK : 0;
  return [
    {
      kernel: sampleKernel,
      buffers: [logits, temperature, scalars, dst],
      uniforms: [rows, V, candidates, site],
      workgroups: rows,
    },
  ];
}
