/**
 * `npm run bench -- consensus`: the seeded simulation at scale. Ten seeds of a network with 30% liars of every kind, each beside BOINC's adaptive
 * replication with the same contributors; what a unit costs with 1% liars once the network knows its contributors; and whether sleeping pays.
 *
 * Nothing here is a speed: seeds are independent and run at most two at a time, each in a thread of its own. A run that is broken off goes on where it was
 * (kept.ts).
 */
import os from 'node:os';
import { Worker } from 'node:worker_threads';
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import type { SimOptions, SimReport } from '#test/sim/simulation.ts';
import { bounded, information } from '../rig/duel.ts';
import { KeptReports } from './kept.ts';

type Say = (line: string) => void;

/** Each takes some 3 GB; fewer where the process is bound to one core. */
const threads = Math.min(2, os.availableParallelism());
const sleepers = ['sleeper', 'occasional', 'canary-hunter'] as const;

interface Plan {
  seeds: number;
  contributors: number;
  units: number;
  /** Where BOINC's model runs beside ours. */
  boincSeeds: number;
}

const full: Plan = { seeds: 10, contributors: 10_000, units: 1_000_000, boincSeeds: 1 };
const short: Plan = { seeds: 2, contributors: 1_000, units: 30_000, boincSeeds: 1 };

export async function run(say: Say, { quick }: SuiteOptions): Promise<BenchOutcome> {
  const plan = quick ? short : full;
  const { contributors, units } = plan;
  const seeds = Array.from({ length: plan.seeds }, (_, i) => i + 1);
  const mixed = { contributors, units, liars: 0.3, strategy: 'mixed' } as const;
  // As many units a contributor as ten times the people would do in ten times the time.
  const calm = { ...mixed, contributors: contributors / 10, units: units / 2, liars: 0.01, seed: 1 };
  const tasks: SimOptions[] = [
    ...seeds.map((seed) => ({ ...mixed, seed })),
    ...seeds.slice(0, plan.boincSeeds).map((seed) => ({ ...mixed, seed, model: 'boinc' as const })),
    calm,
    { ...calm, model: 'boinc' },
  ];
  const reports = await runAll(tasks, say);
  const ours = reports.slice(0, plan.seeds);
  const boinc = reports.slice(plan.seeds, plan.seeds + plan.boincSeeds);
  const [calmOurs, calmBoinc] = reports.slice(-2) as [SimReport, SimReport];
  return {
    device: `a simulated clock and network; ${contributors} contributors, ${units} units a seed, ${plan.seeds} seeds`,
    versions: {},
    rows: [
      ...wrongRows(ours),
      bounded('replicas-per-unit-1%-liars', calmOurs.replicasPerUnitWarm, 'replicas', {
        atMost: 1.15,
        aim: 1.08,
      }),
      ...sleeperRows(ours),
      ...peerRows(ours, boinc, calmOurs, calmBoinc),
      ...strategyRows(ours),
    ],
  };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

function wrongRows(reports: readonly SimReport[]): BenchRow[] {
  const accepted = sum(reports.map((report) => report.unitsAccepted));
  const ever = (1e5 * sum(reports.map((report) => report.wrongEver))) / accepted;
  const standing = sum(reports.map((report) => report.wrongStanding));
  const faults = sum(reports.map((report) => report.faults.length));
  return [
    bounded('wrong-uncaught-at-the-end-30%-liars', standing + faults, 'units', { atMost: 0, aim: 0 }),
    bounded('wrong-ever-30%-liars', ever, 'in 10^5 units', { atMost: 1, aim: 0 }),
  ];
}

/** False results that are believed at the end, over those made; and profit against the work really done. */
function sleeperRows(reports: readonly SimReport[]): BenchRow[] {
  const of = reports.flatMap(({ strategies }) => sleepers.flatMap((name) => strategies[name] ?? []));
  const caught =
    1 - sum(of.map(({ standing }) => standing)) / sum(of.map(({ falseResults }) => falseResults));
  const profit = sum(of.map((report) => report.profit)) / sum(of.map(({ work }) => work));
  return [
    bounded('sleepers-lies-caught-and-clawed-back', 100 * caught, '%', { atLeast: 99, aim: 100 }),
    bounded('sleepers-profit', 100 * profit, '% of their work', { atMost: 0, aim: -100 }),
  ];
}

function peerRows(
  ours: readonly SimReport[],
  boinc: readonly SimReport[],
  calmOurs: SimReport,
  calmBoinc: SimReport,
): BenchRow[] {
  const mean = (reports: readonly SimReport[], of: (report: SimReport) => number) =>
    sum(reports.map(of)) / reports.length;
  const wrong = (report: SimReport) => (1e5 * report.wrongStanding) / report.unitsAccepted;
  return [
    information(
      'replicas-per-unit-30%-liars',
      mean(ours, (r) => r.replicasPerUnitWarm),
      'replicas',
    ),
    information(
      'boinc-replicas-per-unit-30%-liars',
      mean(boinc, (r) => r.replicasPerUnitWarm),
      'replicas',
    ),
    information('boinc-wrong-uncaught-30%-liars', mean(boinc, wrong), 'in 10^5 units'),
    information('wrong-uncaught-1%-liars', wrong(calmOurs), 'in 10^5 units'),
    information('boinc-replicas-per-unit-1%-liars', calmBoinc.replicasPerUnitWarm, 'replicas'),
    information('boinc-wrong-uncaught-1%-liars', wrong(calmBoinc), 'in 10^5 units'),
  ];
}

/** Of each kind, over all seeds: what it got for its lies. */
function strategyRows(reports: readonly SimReport[]): BenchRow[] {
  const names = Object.keys(reports[0]?.strategies ?? {}) as (keyof SimReport['strategies'])[];
  return names.flatMap((name) => {
    const of = reports.flatMap(({ strategies }) => strategies[name] ?? []);
    const total = (key: 'falseResults' | 'standing' | 'profit' | 'work' | 'outlawed') =>
      sum(of.map((report) => report[key]));
    if (name === 'honest') return [information('honest-outlawed', total('outlawed'), 'contributors')];
    const caught = total('falseResults') === 0 ? 1 : 1 - total('standing') / total('falseResults');
    return [
      information(`${name}-false-results`, total('falseResults'), 'results'),
      information(`${name}-caught`, 100 * caught, '%'),
      information(`${name}-profit`, total('profit'), '10^9 operations'),
    ];
  });
}

/** In order of the tasks, however they end. */
async function runAll(tasks: readonly SimOptions[], say: Say): Promise<SimReport[]> {
  const reports: SimReport[] = [];
  let next = 0;
  const kept = new KeptReports();
  const thread = async () => {
    for (let i = next++; i < tasks.length; i = next++) {
      const task = tasks[i] as SimOptions;
      const report = kept.get(task) ?? (await runOne(task));
      kept.put(task, report);
      reports[i] = report;
      const { model, liars, seed, wrongEver, wrongStanding, replicasPerUnitWarm, faults } = report;
      const figures = `${wrongEver} wrong ever, ${wrongStanding} uncaught, ${replicasPerUnitWarm.toFixed(3)} replicas a unit`;
      say(
        `${model}, ${100 * liars}% liars, seed ${seed}: ${figures}${faults.map((fault) => `; ${fault}`).join('')}`,
      );
    }
  };
  await Promise.all(Array.from({ length: threads }, thread));
  return reports;
}

function runOne(workerData: SimOptions): Promise<SimReport> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData,
      // Rows live long or not at all: a large nursery spares copying them twice.
      resourceLimits: { maxOldGenerationSizeMb: 6_000, maxYoungGenerationSizeMb: 192 },
    });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the simulation ended with code ${code} and no report`)));
  });
}
