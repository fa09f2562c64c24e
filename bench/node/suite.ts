/**
 * `npm run bench -- node`: what a headless contributor reaches: exact products and training on a datacenter GPU, against the vendor's library and PyTorch on
 * the same GPU in the same run, WGSL by Dawn, all cores, and the node itself. What this machine lacks the means for is skipped, with the reason.
 */
import type { BenchOutcome, SuiteOptions } from '#scripts/bench.ts';
import { cudaGemm } from './cuda-gemm.ts';
import { cudaTrain } from './cuda-train.ts';
import { dawnPeak } from './dawn-peak.ts';
import { footprintRows } from './footprint.ts';
import { type Measure, rowsOnly, runMeasures } from './measure.ts';
import { threadRows } from './wasm-threads.ts';

const measures: readonly Measure[] = [
  cudaGemm,
  cudaTrain,
  dawnPeak,
  rowsOnly('WebAssembly, all cores', threadRows),
  rowsOnly('the node at rest and at its start', footprintRows),
];

export function run(say: (line: string) => void, options: SuiteOptions): Promise<BenchOutcome> {
  return runMeasures(measures, say, options);
}
