/**
 * One train.steps step at GPT-2's 124M shape (B=1, T=256) on WASM with two threads, in Node, from a checkpoint in files: its peak memory, and which part of
 * the step's time is products. Each part is a process of its own (kernels/programs/testing/gpt2-step.ts), so that a peak is that part's alone.
 *
 * The share is of the clock inside the ops of the step; rows without a bound say what it is of all ops of the unit, which also decodes the moments and
 * encodes the update, and how long the unit takes with its reading, hashing and writing.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { FileBlocks } from '#kernels/programs/testing/file-blocks.ts';
import { gpt2Small, type StepReport } from '#kernels/programs/testing/gpt2-step.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { ensureWasm } from '#scripts/build-wasm.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { bounded, information } from '../rig/duel.ts';

const threads = 2;
const policy = 'i10sr';

export async function largeRows(say: (line: string) => void): Promise<BenchRow[]> {
  await ensureWasm();
  const dir = await mkdtemp(path.join(tmpdir(), 'atoll-bench-'));
  try {
    say('124M step: writing the first checkpoint');
    await part(['make', dir]);
    const run = JSON.parse(await part(['run', dir, String(threads), policy])) as StepReport;
    say(`  ${run.wallSeconds.toFixed(0)} s, ${(run.peakBytes / 1e9).toFixed(2)} GB`);
    const profile = JSON.parse(await part(['profile', dir, String(threads), policy])) as StepReport;
    await check(dir, run, profile);
    return rowsOf(run, profile, say);
  } catch (error) {
    say(`  124M step failed: ${(error as Error).message}`);
    return boundedRows(NaN, NaN);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Throws unless both runs gave the same bits, of a fresh model. */
async function check(dir: string, run: StepReport, profile: StepReport): Promise<void> {
  const [one, other] = [run.outputs, profile.outputs].map((outputs) => JSON.stringify(outputs));
  if (one !== other) throw new Error('Two runs of the unit differ.');
  const bytes = await new FileBlocks(dir).get(run.outputs['losses'] as Cid);
  const loss = new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
  if (!(Math.abs(loss - Math.log(gpt2Small.V)) < 0.5)) throw new Error(`The loss is ${loss}, not near ln V.`);
}

function boundedRows(gigabytes: number, share: number): BenchRow[] {
  return [
    bounded('124M step: peak memory', gigabytes, 'GB', { atMost: 5, aim: 3 }),
    bounded('124M step: share of time in products', share, '%', { atLeast: 60, aim: 80 }),
  ];
}

function rowsOf(run: StepReport, profile: StepReport, say: (line: string) => void): BenchRow[] {
  const ops = Object.entries(profile.opSeconds ?? {});
  say(`  ${ops.map(([name, seconds]) => `${name} ${seconds.toFixed(2)} s`).join(', ')}`);
  const all = ops.reduce((sum, [, seconds]) => sum + seconds, 0);
  const ofAll = (profile.opSeconds?.['gemm'] ?? NaN) / all;
  const percent = (share = NaN) => 100 * share;
  return [
    ...boundedRows(run.peakBytes / 1e9, percent(profile.gemmShare)),
    information('124M step: share of products and quantisation', percent(profile.productShare), '%'),
    information('124M unit: share of products in all its ops', percent(ofAll), '%'),
    ...ops.map(([name, seconds]) => information(`124M unit: ${name}`, seconds, 's')),
    information('124M unit: all, by the clock', run.wallSeconds, 's'),
    information('124M unit: all, CPU', run.cpuSeconds, 'CPU-s'),
  ];
}

/** What one part prints. Throws with what it said when it fails. */
function part(words: string[]): Promise<string> {
  const script = fileURLToPath(import.meta.resolve('#kernels/programs/testing/gpt2-step.ts'));
  const hooks = import.meta.resolve('#scripts/raw-hooks.ts');
  const args = ['--import', hooks, script, ...words];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, said] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(said.slice(0, 2000)));
    });
  });
}
