/**
 * One train.steps step at GPT-2's 124M shape (B=1, T=256) on WASM with two threads, in Node, from blocks on disk, as the program runs it: its peak memory,
 * and which part of the kernels' time is products. Each part is a process of its own (large-child.ts).
 *
 * The share is of the clock inside recordings, run op by op; time outside them (reading, hashing, writing blocks) is a row by itself.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureWasm } from '#scripts/build-wasm.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { bounded, information } from '../rig/duel.ts';
import type { LargeAnswer, LargeRequest } from './large-child.ts';

export const gpt2: ModelConfig = { L: 12, C: 768, NH: 12, T: 256, V: 50257 };
export const threads = 2;

export async function largeRows(say: (line: string) => void, model: ModelConfig = gpt2): Promise<BenchRow[]> {
  await ensureWasm();
  const dir = await mkdtemp(path.join(tmpdir(), 'atoll-bench-'));
  try {
    const base: Omit<LargeRequest, 'mode'> = { dir, model, batch: 1, policy: 'i10sr', threads };
    say('124M step: writing the first checkpoint');
    const { checkpoint, tokens } = await child({ ...base, mode: 'prepare' });
    const inputs = { ...base, checkpoint, tokens } as Omit<LargeRequest, 'mode'>;
    const plain = await child({ ...inputs, mode: 'step' });
    say(
      `  ${plain.seconds?.toFixed(0)} s, ${(plain.peakBytes / 1e9).toFixed(2)} GB, loss ${plain.loss?.toFixed(3)}`,
    );
    const profile = await child({ ...inputs, mode: 'profile' });
    check(plain, profile, model);
    return rowsOf(plain, profile, say);
  } catch (error) {
    const why = (error as Error).message.trim().split('\n').at(-1) as string;
    say(`  124M step failed: ${(error as Error).message}`);
    return [
      bounded(`124M step: peak memory (${why})`, NaN, 'GB', { atMost: 5, aim: 3 }),
      bounded('124M step: share of time in products', NaN, '%', { atLeast: 60, aim: 80 }),
    ];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Throws unless both runs gave the same bits, of a fresh model. */
function check(plain: LargeAnswer, profile: LargeAnswer, { V }: ModelConfig): void {
  if (plain.digest !== profile.digest) throw new Error('Two runs of the unit differ.');
  const far = Math.abs((plain.loss ?? NaN) - Math.log(V));
  if (!(far < 0.5)) throw new Error(`The loss is ${plain.loss}, not near ln V.`);
}

function rowsOf(plain: LargeAnswer, profile: LargeAnswer, say: (line: string) => void): BenchRow[] {
  const ops = Object.entries(profile.ops ?? {}).sort(([, x], [, y]) => y - x);
  const total = ops.reduce((sum, [, seconds]) => sum + seconds, 0);
  const percent = (seconds: number) => (100 * seconds) / total;
  say(`  ${ops.map(([name, seconds]) => `${name} ${percent(seconds).toFixed(1)} %`).join(', ')}`);
  return [
    bounded('124M step: peak memory', plain.peakBytes / 1e9, 'GB', { atMost: 5, aim: 3 }),
    bounded('124M step: share of time in products', percent(profile.ops?.gemm ?? 0), '%', {
      atLeast: 60,
      aim: 80,
    }),
    ...ops.map(([name, seconds]) => information(`124M step: ${name}`, percent(seconds), '%')),
    information('124M step: kernels', total, 's'),
    information('124M unit, whole, by the clock', plain.seconds ?? NaN, 's'),
    information('124M unit, whole, CPU', plain.cpuSeconds ?? NaN, 'CPU-s'),
  ];
}

/** Runs one part to its end. Throws with what it said. */
function child(request: LargeRequest): Promise<LargeAnswer> {
  const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const hooks = ['--import', new URL('../../scripts/raw-hooks.ts', import.meta.url).href];
  const args = [...hooks, file('large-child.ts'), JSON.stringify(request)];
  const started = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, said] = ['', ''];
  started.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  started.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return new Promise((resolve, reject) => {
    started.on('error', reject);
    started.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as LargeAnswer);
      else reject(new Error(said.slice(0, 2000)));
    });
  });
}
