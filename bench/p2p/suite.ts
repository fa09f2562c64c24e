/**
 * `npm run bench -- p2p`: contributors among themselves, in real Chromium, with signalling through the coordinator's relay on loopback. What loopback cannot
 * show: addresses translated, loss, real round trips.
 *
 * A group of rows is a file; one that fails says so, and its row is not ok, and the others go on.
 */
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import { information } from '../rig/duel.ts';
import { dialRows } from './dials.ts';
import { mainThreadRows } from './main-thread.ts';
import { memoryRows } from './memory.ts';
import { originRows } from './origin.ts';
import { returningRows } from './returning.ts';
import { streamRows } from './stream.ts';
import { swarmRows } from './swarm.ts';

export type Say = (line: string) => void;
/** The rows of one group. */
export type RowGroup = (say: Say, quick: boolean) => Promise<BenchRow[]>;

/** By what the group is about. */
const groups: Record<string, RowGroup> = {
  'dials between pages': dialRows,
  'stream against raw data channel': streamRows,
  'memory over joins and leaves': memoryRows,
  'bytes from the origin': originRows,
  'bytes of who comes back': returningRows,
  'main thread while blocks arrive': mainThreadRows,
  'simulated swarm': swarmRows,
};

/** A group that takes longer has hung; all together take some 8 minutes on two cores. */
const groupMsMax = 6 * 60_000;
/** What a group that hung has open does not keep the process for longer. */
const exitMs = 30_000;

export async function run(say: Say, { quick }: SuiteOptions): Promise<BenchOutcome> {
  const rows: BenchRow[] = [];
  for (const [about, group] of Object.entries(groups)) {
    say(about);
    const from = performance.now();
    try {
      rows.push(...(await guarded(group(say, quick))));
    } catch (error) {
      say(`  ${about} failed: ${(error as Error).message}`);
      rows.push({ ...information(about, Number.NaN, ''), ok: false });
    }
    say(`  ${((performance.now() - from) / 1000).toFixed(0)} s`);
  }
  setTimeout(() => process.exit(), exitMs).unref();
  return { device: 'loopback', versions: {}, rows };
}

/** Rejects also when the group hangs, or leaves something behind that fails with nobody to hear it, which would end all of the suite. */
async function guarded(rows: Promise<BenchRow[]>): Promise<BenchRow[]> {
  const failure = Promise.withResolvers<never>();
  const timer = setTimeout(() => failure.reject(new Error('It took too long.')), groupMsMax);
  process.on('unhandledRejection', failure.reject);
  try {
    return await Promise.race([rows, failure.promise]);
  } finally {
    clearTimeout(timer);
    process.off('unhandledRejection', failure.reject);
  }
}
