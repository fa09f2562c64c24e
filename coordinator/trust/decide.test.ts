/** How many replicas a unit gets, who may take its seats, and what is looked at again. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newUnit } from '../consensus/consensus.ts';
import { benchRules, UnitBench } from '../testing/unit-bench.ts';
import {
  auditUnanimous,
  decide,
  levelOf,
  isSeatFree,
  mayTake,
  quorumAsked,
  strangersAsked,
  rechecksAfter,
  samplingChance,
  seatOf,
} from './decide.ts';
import { type Climate, defaultTrustRules as rules, type Standing, type TrustRules } from './types.ts';

const newcomer: Standing = {
  ...{ referee: false, outlawed: false, verified: 0, streak: 0, alone: 0, faults: 0, stake: 0n },
};
const proven: Standing = { ...newcomer, verified: 100, streak: 100 };
const referee: Standing = { ...newcomer, referee: true };
const outlaw: Standing = { ...proven, outlawed: true };

const good: Climate = { judged: 5_000, liars: 20, online: 1_000, provenOnline: 500, refereesOnline: 0 };
const fair: Climate = { ...good, liars: 225 };
const poor: Climate = { ...good, liars: 500 };
const bad: Climate = { ...good, liars: 1_500 };
const strangers: Climate = { judged: 0, liars: 0, online: 1_000, provenOnline: 0, refereesOnline: 0 };
const few: Climate = { ...strangers, online: 3 };

/** A draw just below a probability, and just above it. */
const below = (chance: number) => Math.max(0, Math.floor(chance * 2 ** 32) - 1);
const above = (chance: number) => Math.ceil(chance * 2 ** 32);
const never = 2 ** 32 - 1;
const without = (defence: keyof TrustRules['defences']): TrustRules => ({
  ...rules,
  defences: { ...rules.defences, [defence]: false },
});

describe('the plan of a unit', () => {
  test.each([
    ['a proven one in a good climate works alone', proven, good, { target: 1, quorum: 1 }],
    ['and in a fair one', proven, fair, { target: 1, quorum: 1 }],
    ['in a poor one nobody does', proven, poor, { target: 3, quorum: 3 }],
    ['nor in a bad one', proven, bad, { target: 3, quorum: 3 }],
    ['a newcomer is paired', newcomer, good, { target: 2, quorum: 2 }],
    ['strangers vote in larger groups', newcomer, strangers, { target: 5, quorum: 5 }],
    ['a handful by two, as there is no choice', newcomer, few, { target: 2, quorum: 2 }],
    ['proven or not', proven, few, { target: 2, quorum: 2 }],
    ['a referee always works alone', referee, bad, { target: 1, quorum: 1 }],
  ] as const)('%s', (_name, standing, climate, plan) => {
    expect(decide(standing, climate, never, rules)).toEqual(plan);
  });

  test('a single is checked with its chance, and nothing of it can be seen before its reveal', () => {
    const chance = samplingChance(proven, good, rules);
    expect(chance).toBe(0.02);
    expect(decide(proven, good, below(chance), rules)).toEqual({ target: 1, quorum: 2 });
    expect(decide(proven, good, above(chance), rules)).toEqual({ target: 1, quorum: 1 });
  });

  test('the chance has a floor, falls with what was confirmed, and rises with the share of liars', () => {
    expect(samplingChance({ ...proven, verified: 10 }, good, rules)).toBeCloseTo(0.1);
    expect(samplingChance({ ...proven, verified: 1_000_000 }, good, rules)).toBe(0.02);
    expect(samplingChance(proven, fair, rules)).toBeGreaterThan(0.04);
    expect(samplingChance(proven, bad, rules)).toBeGreaterThan(0.5);
  });

  test('switched off, each figure is what it defends against', () => {
    expect(decide(proven, good, never, without('adaptive'))).toEqual({ target: 2, quorum: 2 });
    expect(decide(proven, bad, never, without('climate'))).toEqual({ target: 1, quorum: 1 });
    expect(decide(newcomer, strangers, never, without('climate'))).toEqual({ target: 4, quorum: 4 });
  });

  test('what a vote needs by now follows the network as it is now', () => {
    const asked = (climate: Climate) => quorumAsked(climate, rules);
    expect([few, good, fair, poor, bad, strangers].map(asked)).toEqual([2, 2, 2, 3, 3, 5]);
    const unanchored = (climate: Climate) => strangersAsked(climate, rules);
    expect([few, good, fair, poor, bad, strangers].map(unanchored)).toEqual([2, 4, 4, 5, 5, 5]);
  });

  test('a group is never larger than the network can spare, nor smaller than two', () => {
    const climates = fc.record({
      judged: fc.nat(10_000),
      online: fc.nat(100_000),
      provenOnline: fc.nat(100),
    });
    fc.assert(
      fc.property(climates, fc.nat(1_000), fc.nat(never), (some, liars, random) => {
        const climate = { ...some, liars, refereesOnline: 0 };
        const { target, quorum } = decide(newcomer, climate, random, rules);
        expect(target).toBe(quorum);
        expect(target).toBeGreaterThanOrEqual(2);
        expect(target).toBeLessThanOrEqual(Math.max(2, Math.min(5, climate.online / 2)));
      }),
    );
  });

  test('more liars never mean fewer replicas', () => {
    fc.assert(
      fc.property(fc.nat(5_000), fc.nat(5_000), (a, b) => {
        const climate = (liars: number) => ({ ...good, liars });
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        expect(levelOf(climate(more), rules)).toBeGreaterThanOrEqual(levelOf(climate(less), rules));
        for (const standing of [newcomer, proven]) {
          const size = (liars: number) => decide(standing, climate(liars), never, rules).quorum;
          expect(size(more)).toBeGreaterThanOrEqual(size(less));
        }
      }),
    );
  });
});

describe('seats', () => {
  const seat = (bench: UnitBench, climate: Climate, waitedMs = 0, own = rules) =>
    seatOf(bench.unit, climate, waitedMs, own, benchRules);
  const vote = (weight: number) => new UnitBench().lease('a', { plan: { target: 2, quorum: 2 }, weight });

  test('the last seat of newcomers is kept for a proven one, until it has waited long', () => {
    expect(seat(new UnitBench(), good)).toBe('any');
    const committed = (weight: number) => vote(weight).commit('a');
    expect(seat(committed(1), good)).toBe('proven');
    expect(seat(committed(4), good)).toBe('any');
    expect(seat(committed(1), good, rules.seatMs + 1)).toBe('any');
    expect(seat(committed(1), strangers)).toBe('any');
    expect(seat(vote(1), good, 0, without('anchors'))).toBe('any');
  });

  test('a seat is given once the one before has committed, where there are proven ones enough', () => {
    const free = (bench: UnitBench, climate: Climate, own = rules) => isSeatFree(bench.unit, climate, own);
    expect(free(new UnitBench(), good)).toBe(true);
    expect(free(vote(4), good)).toBe(false);
    expect(free(vote(4).commit('a'), good)).toBe(true);
    expect(free(vote(4), strangers)).toBe(true);
    expect(free(vote(4), good, without('serial'))).toBe(true);
  });

  test('after a split only the proven are asked', () => {
    const bench = vote(4).lease('b').commit('a').commit('b').reveal('a', 'x').reveal('b', 'y');
    expect(seat(bench, good)).toBe('proven');
  });

  test('checks and samples are for the proven, disputes for a referee where there is one', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'x' }, { weight: 4 }, { audit: true });
    expect(seat(bench, good)).toBe('proven');
    bench.unit = { ...bench.unit, phase: 'agreed', digest: 'x' };
    bench.accept(1);
    expect(seat(bench, good, rules.seatMs + 1)).toBe('proven');
    bench.lease('d', { weight: 4 }).commit('d').reveal('d', 'y');
    expect(seat(bench, good)).toBe('proven');
    expect(seat(bench, { ...good, refereesOnline: 1 })).toBe('referee');
  });

  test('when the replicas are used up, a referee is asked', () => {
    const bench = new UnitBench().round({ a: '1', b: '2' }).round({ c: '3' });
    bench.round({ d: '4', e: '5', f: '6' }, {}, { referee: true });
    const own = { ...benchRules, replicasMax: 6 };
    expect(seatOf(bench.unit, { ...good, refereesOnline: 1 }, 0, rules, own)).toBe('referee');
  });

  test.each([
    ['any', newcomer, true],
    ['proven', newcomer, false],
    ['proven', proven, true],
    ['referee', proven, false],
    ['referee', referee, true],
    ['any', outlaw, false],
  ] as const)('a seat for %s', (kept, standing, may) => {
    expect(mayTake(kept, standing, rules)).toBe(may);
  });
});

describe('second looks', () => {
  const decided = (weights: number[]) => {
    const bench = new UnitBench();
    const plan = { target: weights.length, quorum: weights.length };
    weights.forEach((weight, i) => bench.lease(`n${i}`, { weight, plan }));
    weights.forEach((_, i) => bench.commit(`n${i}`));
    weights.forEach((_, i) => bench.reveal(`n${i}`, 'x'));
    return bench.unit;
  };

  test('a unanimous vote is sampled the more, the worse the climate and the fewer proven ones were in it', () => {
    const audits = (weights: number[], climate: Climate, chance: number, own = rules) =>
      auditUnanimous(decided(weights), climate, below(chance), own, benchRules);
    expect(audits([1, 1], good, 0.02)).toBe(true);
    expect(audits([1, 1], good, 0.03)).toBe(false);
    expect(audits([1, 1], bad, 0.08)).toBe(true);
    expect(audits([1, 4], bad, 0.08)).toBe(false);
    expect(audits([1, 4], bad, 0.04)).toBe(true);
    expect(audits([4, 4], bad, 0)).toBe(false);
    expect(audits([1, 1], few, 0)).toBe(false);
    expect(audits([1, 1], bad, 0, without('audits'))).toBe(false);
  });

  test('canaries are drawn of singles and votes alike; what an outlaw agreed to is looked at for certain', () => {
    const rechecks = (weights: number[], byOutlaw: boolean, chance: number, own = rules) =>
      rechecksAfter(decided(weights), byOutlaw, good, below(chance), own);
    expect(rechecks([4], false, rules.canaryChance)).toBe(1);
    expect(rechecks([4], false, 2 * rules.canaryChance)).toBe(0);
    expect(rechecks([4, 4], false, rules.canaryChance)).toBe(1);
    expect(rechecks([4, 4], false, 2 * rules.canaryChance)).toBe(0);
    expect(rechecks([4], false, 0, without('canaries'))).toBe(0);
    expect(rechecks([4, 4], true, 1)).toBe(1);
    expect(rechecks([4, 4], true, 1, without('secondLooks'))).toBe(0);
    expect(rechecksAfter(newUnit(benchRules), false, few, 0, rules)).toBe(0);
  });
});

test('trust and consensus mean the same by proven', () => {
  expect(rules.provenWeight).toBe(benchRules.provenWeight);
});
