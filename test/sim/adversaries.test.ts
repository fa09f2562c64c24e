/**
 * Every kind of adversary against the defence that is there for it, and against a coordinator without: what the defence prevents must happen then.
 * Small networks, so the figures are those of a seed; docs/threat-model.md has the large ones.
 */
import { describe, expect, test } from 'vitest';
import type { RecordRules } from '#coordinator/record/rules.ts';
import type { TrustRules } from '#coordinator/trust/types.ts';
import type { Strategy } from './adversaries.ts';
import type { StrategyReport } from './measures.ts';
import { type SimOptions, type SimReport, simulate, type Tune } from './simulation.ts';

type Defences = Partial<TrustRules['defences']>;

const trust =
  (change: Partial<TrustRules>, defences: Defences = {}): Tune =>
  (rules) => ({
    ...rules,
    trust: { ...rules.trust, ...change, defences: { ...rules.trust.defences, ...defences } },
  });
const scheduling =
  (change: Partial<RecordRules['scheduling']>): Tune =>
  (rules) => ({ ...rules, scheduling: { ...rules.scheduling, ...change } });

/** Strangers among themselves decide by two, as a network without these defences would. */
const trusting = trust(
  { onlinePerReplica: Infinity },
  { anchors: false, climate: false, audits: false, canaries: false, lateLooks: false },
);
/** Nobody's single is sampled, and each is replayed: only canaries find what a proven one does alone. */
const canariesOnly = trust({ samplingFloor: 0, samplingSlope: 0, canaryChance: 1 }, { climate: false });

interface Outcome {
  report: SimReport;
  own: StrategyReport;
}

function run(strategy: Strategy, change: Partial<SimOptions> = {}, tune?: Tune): Outcome {
  const base = { contributors: 200, units: 3_000, lanes: 30, liars: 0.3, strategy, seed: 1 };
  const report = simulate({ ...base, ...change }, tune);
  expect(report.faults).toEqual([]);
  expect(honestOutlawed(report)).toBeLessThan(0.03);
  return { report, own: report.strategies[strategy] as StrategyReport };
}

type Totals = Pick<StrategyReport, 'outlawed' | 'standing' | 'profit' | 'credit' | 'falseResults'> &
  Pick<SimReport, 'wrongEver' | 'wrongStanding'>;

/** Several histories, where one is too much of chance. */
function over(seeds: readonly number[], play: (seed: number) => Outcome): Totals {
  const totals: Totals = {
    ...{ outlawed: 0, standing: 0, profit: 0, credit: 0, falseResults: 0 },
    ...{ wrongEver: 0, wrongStanding: 0 },
  };
  for (const { own, report } of seeds.map(play)) {
    for (const key of ['outlawed', 'standing', 'profit', 'credit', 'falseResults'] as const)
      totals[key] += own[key];
    for (const key of ['wrongEver', 'wrongStanding'] as const) totals[key] += report[key];
  }
  return totals;
}

/** Share of the honest whom proven liars have outvoted often enough to have them outlawed. */
function honestOutlawed({ strategies }: SimReport): number {
  const { outlawed, actors } = strategies.honest as StrategyReport;
  return outlawed / actors;
}

describe('each defence against the adversary that it is for', () => {
  test('liar: outlawry and growing waits end it; without, it lies on and on', () => {
    const off: Tune = (rules) =>
      scheduling({ backOffMsMin: 0, backOffMsMax: 0 })(trust({}, { outlaw: false })(rules));
    const [guarded, open] = [run('liar'), run('liar', {}, off)];
    expect(guarded.report.wrongEver).toBe(0);
    expect(guarded.own).toMatchObject({ credit: 0, standing: 0 });
    expect(open.own.falseResults).toBeGreaterThan(4 * guarded.own.falseResults);
    expect(open.report.replicasPerUnit).toBeGreaterThan(guarded.report.replicasPerUnit + 0.5);
  });

  test('free-rider: larger groups of strangers, anchors and the climate keep one cheat, copied often, out', () => {
    const [guarded, open] = [run('free-rider', { liars: 0.1 }), run('free-rider', { liars: 0.1 }, trusting)];
    expect(guarded.report.wrongEver).toBe(0);
    expect(guarded.own.credit).toBe(0);
    expect(open.report.wrongEver).toBeGreaterThan(0);
  });

  test('sleeper: outlawry takes what it has; without, its lies stand and pay', () => {
    const [guarded, open] = [
      run('sleeper', { liars: 0.1 }),
      run('sleeper', { liars: 0.1 }, trust({}, { outlaw: false })),
    ];
    expect(guarded.report.wrongStanding).toBe(0);
    expect(guarded.own.caught).toBe(1);
    expect(guarded.own.profit).toBeLessThan(0);
    expect(open.report.wrongStanding).toBeGreaterThan(0);
  });

  test('occasional: samples and canaries find one lie in ten; without, they stand', () => {
    const options = { liars: 0.1, contributors: 100, units: 8_000 };
    // Without the climate, which would have nobody work alone among so many, on both sides.
    // Ten liars tell a dozen lies here: half of all is looked at, so that none of them is a matter of chance.
    const on = trust({ samplingFloor: 0.5, canaryChance: 0.5 }, { climate: false });
    const off = trust({ samplingFloor: 0, samplingSlope: 0 }, { canaries: false, climate: false });
    const [guarded, open] = [on, off].map((tune) =>
      over([1, 2], (seed) => run('occasional', { ...options, seed }, tune)),
    ) as [Totals, Totals];
    expect(guarded.outlawed).toBeGreaterThan(open.outlawed);
    expect(guarded.standing).toBe(0);
    expect(open.standing).toBeGreaterThan(0);
    expect(guarded.profit).toBeLessThan(0);
  });

  test('second looks: all that a proven liar has touched is looked at again', () => {
    const [guarded, open] = [
      run('sleeper', { liars: 0.1 }),
      run('sleeper', { liars: 0.1 }, trust({}, { secondLooks: false })),
    ];
    expect(guarded.report.wrongStanding).toBe(0);
    expect(open.report.wrongStanding).toBeGreaterThan(0);
  });

  test('sybil: keys of few networks do not meet in a unit; where networks are not told apart, they do', () => {
    const guarded = run('sybil');
    expect(guarded.report.wrongStanding).toBe(0);
    expect(guarded.own.profit).toBeLessThan(0);
    // What else is there catches it anyway; so prefixes are compared where they are on their own, over two seeds: the figures are small.
    const totals = (isPrefixed: boolean) => {
      const runs = [1, 2].map((seed) => run('sybil', { isPrefixed, seed }, trusting));
      const sum = (of: (each: Outcome) => number) => runs.reduce((total, each) => total + of(each), 0);
      return { lies: sum(({ own }) => own.falseResults), wrong: sum(({ report }) => report.wrongEver) };
    };
    const [alone, open] = [totals(true), totals(false)];
    expect(open.lies).toBeGreaterThan(1.15 * alone.lies);
    expect(open.wrong).toBeGreaterThan(1.3 * alone.wrong);
  });

  test('colluder: a ring gets less through where strangers vote in groups, with somebody proven', () => {
    const [guarded, open] = [run('colluder'), run('colluder', {}, trusting)];
    expect(guarded.report.wrongStanding).toBe(0);
    expect(guarded.own.profit).toBeLessThan(0);
    expect(open.report.wrongEver).toBeGreaterThan(4 * guarded.report.wrongEver);
  });

  test('copycat: a commitment is bound to its contributor; where it is not, copies are paid', () => {
    const [guarded, open] = [run('copycat', { liars: 0.1 }), run('copycat', { liars: 0.1, isBound: false })];
    expect(guarded.own.credit).toBe(0);
    expect(open.own.credit).toBeGreaterThan(0);
    expect(open.own.work).toBe(0);
  });

  test('withholder: every withheld reveal delays its next offer', () => {
    const off = scheduling({ backOffMsMin: 0, backOffMsMax: 0 });
    const [guarded, open] = [run('withholder', { liars: 0.1 }), run('withholder', { liars: 0.1 }, off)];
    expect(guarded.own.credit).toBe(0);
    expect(open.own.falseResults).toBeGreaterThan(3 * guarded.own.falseResults);
    expect(open.report.replicasPerUnit).toBeGreaterThan(guarded.report.replicasPerUnit);
  });

  test('equivocator: two signed commitments for one lease outlaw it', () => {
    const options = { liars: 0.1 };
    const off = trust({}, { outlaw: false });
    const guarded = over([1, 2], (seed) => run('equivocator', { ...options, seed }));
    const open = over([1, 2], (seed) => run('equivocator', { ...options, seed }, off));
    expect(guarded.wrongEver).toBe(0);
    expect(guarded.credit).toBe(0);
    expect(guarded.outlawed).toBeGreaterThan(10);
    expect(open.falseResults).toBeGreaterThan(1.5 * guarded.falseResults);
  });

  test('slow-loris: a lease lasts as long as the device should need; with long leases everybody waits', () => {
    const off = scheduling({ leaseSlack: 400, leaseMsMax: 1e9 });
    const [guarded, open] = [run('slow-loris'), run('slow-loris', {}, off)];
    expect(guarded.own.credit).toBe(0);
    expect(open.report.simulatedSeconds).toBeGreaterThan(3 * guarded.report.simulatedSeconds);
  });

  test('canary-hunter: replays look like open units; where results are shown at once, it knows when not to lie', () => {
    const [guarded, open] = [true, false].map((isSealed) =>
      over([1, 2, 3], (seed) => run('canary-hunter', { liars: 0.1, isSealed, seed }, canariesOnly)),
    ) as [Totals, Totals];
    expect(guarded.wrongStanding).toBe(0);
    expect(guarded.profit).toBeLessThan(0);
    expect(open.wrongEver).toBeGreaterThan(1.3 * guarded.wrongEver);
  });
});

test('all of them at once: nothing false stands, no kind has a profit, and hardly anybody honest is outlawed', () => {
  for (const seed of [1, 2]) {
    const report = simulate({
      contributors: 300,
      units: 4_000,
      lanes: 30,
      liars: 0.3,
      strategy: 'mixed',
      seed,
    });
    const replay = `npm run sim -- --contributors 300 --units 4000 --lanes 30 --seed ${seed}`;
    expect(report.faults, replay).toEqual([]);
    expect(report.wrongStanding, replay).toBe(0);
    expect(honestOutlawed(report), replay).toBeLessThan(0.01);
    for (const [name, { profit, work }] of Object.entries(report.strategies)) {
      // A ring that found no partner has worked honestly, and is paid as others are.
      if (name !== 'honest') expect(profit, `${name}: ${replay}`).toBeLessThan(0.03 * work + 1e-9);
    }
  }
});
