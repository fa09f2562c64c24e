/**
 * The simulated swarm of 500 peers, on the real exchange, tracker and leases: how long until 95% of those who stay have 64 MiB, against the fluid model; and what
 * those get who only take, beside a newcomer. No speed of this machine: the clock is made.
 */
import type { BenchRow } from '#scripts/bench.ts';
import { simulateSwarm } from '#test/sim/swarm/swarm.ts';
import { bounded, information, median } from '../rig/duel.ts';

export async function swarmRows(say: (line: string) => void, quick: boolean): Promise<BenchRow[]> {
  const peers = quick ? 60 : 500;
  const seeds = quick ? [1] : [1, 2, 3];
  const reports = seeds.map((seed) => {
    const report = simulateSwarm({ peers, seed });
    say(`  seed ${seed}: ${report.seconds95} s, fluid ${report.boundEqual} s`);
    return report;
  });
  const hostile = simulateSwarm({ peers, leeches: 0.1, liars: 0.04, slow: 0.2, newcomerMs: 60_000 });
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
