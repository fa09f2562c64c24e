/**
 * `npm run bench -- p2p`: contributors among themselves, in real Chromium, with signalling through the coordinator's relay on loopback. What loopback cannot
 * show: addresses translated, loss, real round trips.
 *
 * A group of rows is a file; one that fails says so, and its row is not ok, and the others go on.
 */
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import { information } from '../rig/duel.ts';
import { dialRows } from './dials.ts';
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
  'simulated swarm': swarmRows,
};

export async function run(say: Say, { quick }: SuiteOptions): Promise<BenchOutcome> {
  const rows: BenchRow[] = [];
  for (const [about, group] of Object.entries(groups)) {
    say(about);
    try {
      rows.push(...(await group(say, quick)));
    } catch (error) {
      say(`  ${about} failed: ${(error as Error).message}`);
      rows.push({ ...information(about, Number.NaN, ''), ok: false });
    }
  }
  return { device: 'loopback', versions: {}, rows };
}
