/**
 * The simulated swarm of 500 peers, on the real exchange, tracker and leases: how long until 95% of those who stay have 64 MiB, against the fluid model; and what
 * those get who only take, beside a newcomer. No speed of this machine: the clock is made.
 */
import { Worker } from 'node:worker_threads';
import type { BenchRow } from '#scripts/bench.ts';
import type { SwarmOptions, SwarmReport } from '#test/sim/swarm/swarm.ts';
import { bounded, information, median } from '../rig/duel.ts';

export async function swarmRows(say: (line: string) => void, quick: boolean): Promise<BenchRow[]> {
  const peers = quick ? 60 : 500;
  const seeds = quick ? [1] : [1, 2, 3];
  const hostileOptions = { peers, leeches: 0.1, liars: 0.04, slow: 0.2, newcomerMs: 60_000 };
  // The clock is made, so that two at a time say what each alone would.
  const [hostile, ...reports] = (await inThreads([
    hostileOptions,
    ...seeds.map((seed) => ({ peers, seed })),
  ])) as [SwarmReport, ...SwarmReport[]];
  for (const [i, { seconds95, boundEqual }] of reports.entries())
    say(`  seed ${seeds[i]}: ${seconds95} s, fluid ${boundEqual} s`);
  const of = (read: (report: (typeof reports)[number]) => number) => median(reports.map(read));
  return [
    bounded('swarm-95%-over-fluid-bound', Math.max(...reports.map(({ ratio }) => ratio)), 'x', {
      atMost: 1.6,
      aim: 1.25,
    }),
    information(
      'swarm-95%-over-bound-where-leavers-take-nothing',
      of(({ ratioStrict }) => ratioStrict),
      'x',
    ),
    information(
      'swarm-origin-bytes',
      of(({ originCopies }) => originCopies),
      'files',
    ),
    information('hostile-swarm-95%-over-fluid-bound', hostile.ratio, 'x'),
    bounded('hostile-swarm-liars-not-found', hostile.liars - hostile.liarsBanned, 'peers', {
      atMost: 0,
      aim: 0,
    }),
    bounded('hostile-swarm-honest-reported', hostile.honestReported, 'reports', { atMost: 0, aim: 0 }),
    information('hostile-swarm-leech-has-at-95%', 100 * hostile.leechShare, '% of the file'),
    information(
      'hostile-swarm-newcomer',
      hostile.newcomerSeconds / hostile.seconds95,
      'x the time of the others',
    ),
  ];
}

const threadsMax = 2;

/** What each of the swarms came to, in their order. */
async function inThreads(swarms: readonly Partial<SwarmOptions>[]): Promise<SwarmReport[]> {
  const reports: SwarmReport[] = [];
  const left = [...swarms.entries()];
  const work = async () => {
    for (let next = left.shift(); next; next = left.shift()) reports[next[0]] = await inThread(next[1]);
  };
  await Promise.all(Array.from({ length: threadsMax }, work));
  return reports;
}

function inThread(options: Partial<SwarmOptions>): Promise<SwarmReport> {
  const worker = new Worker(new URL('./swarm-thread.ts', import.meta.url), { workerData: options });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`A simulation ended with ${code}.`)));
  });
}
