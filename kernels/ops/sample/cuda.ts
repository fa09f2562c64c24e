/** Sampling on CUDA: a block a row. */
import type { Launch } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf } from '../math/cuda.ts';
import body from './sample.cu?raw';
import type { SampleArgs } from './spec.ts';

export const sampleSource = cudaSource('sample', body);
const sampleKernel = entryOf(sampleSource, 'sample');

export function sampleLaunches(args: SampleArgs): Launch[] {
  const { logits, rows, V, temperature, topK, scalars, site, dst } = args;
  const candidates = topK !== undefined && topK < V ? topK : 0;
  return [
    {
      kernel: sampleKernel,
      args: [logits, temperature, scalars, dst, V, candidates, site],
      grid: [rows, 1, 1],
      block: [512, 1, 1],
    },
  ];
}
