/**
 * `npm run bench -- train`: a GPT training step against jax-js and tfjs in Chromium (steps.ts), one step at GPT-2's 124M shape with its memory and the share of
 * time in products (large.ts), and generation with a cache against onnxruntime-web (generate.ts).
 */
import type { BenchOutcome, SuiteOptions } from '#scripts/bench.ts';
import { ensurePeers } from '../peers/install.ts';
import { Rig } from '../rig/browser.ts';
import { stepRows } from './steps.ts';

export async function run(say: (line: string) => void, { quick }: SuiteOptions): Promise<BenchOutcome> {
  const versions = ensurePeers(say);
  const rig = await Rig.open();
  try {
    const { rows, labels } = await stepRows(rig, quick, say);
    const device = `${labels.join(' and ')} in headless Chromium`;
    return { device, versions: { chromium: rig.version, ...versions }, rows };
  } finally {
    await rig.close();
  }
}
