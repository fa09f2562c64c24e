/**
 * `npm run bench -- train`: a GPT training step against jax-js and tfjs in Chromium (steps.ts), one step at GPT-2's 124M shape with its memory and the share of
 * time in products (large.ts), and generation with a cache against onnxruntime-web (generate.ts).
 */
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import { ensurePeers } from '../peers/install.ts';
import { Rig } from '../rig/browser.ts';
import { generateRows } from './generate.ts';
import { largeRows } from './large.ts';
import { stepRows } from './steps.ts';

type Say = (line: string) => void;

export async function run(say: Say, { quick }: SuiteOptions): Promise<BenchOutcome> {
  const versions = ensurePeers(say);
  const { rows, labels, chromium } = await inBrowser(quick, say);
  const device = `${labels.join(' and ')} in headless Chromium; at 124M, WebAssembly with 2 threads in Node`;
  const all = [...rows, ...(await largeRows(say)), ...(await generateRows(quick, say))];
  const isBounded = (row: BenchRow) => row.atLeast !== undefined || row.atMost !== undefined;
  return {
    device,
    versions: { chromium, ...versions },
    rows: [...all.filter(isBounded), ...all.filter((row) => !isBounded(row))],
  };
}

async function inBrowser(quick: boolean, say: Say) {
  const rig = await Rig.open();
  try {
    return { ...(await stepRows(rig, quick, say)), chromium: rig.version };
  } finally {
    await rig.close();
  }
}
