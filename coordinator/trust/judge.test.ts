/** What follows for whom from a step of consensus, and how surely. */
import { describe, expect, test } from 'vitest';
import * as consensus from '../consensus/consensus.ts';
import type { Hints, Step } from '../consensus/consensus.ts';
import { benchRules, id, UnitBench } from '../testing/unit-bench.ts';
import { judge } from './judge.ts';
import { type Climate, defaultTrustRules as rules, type TrustEvent } from './types.ts';

const anchored: Climate = { judged: 100, liars: 0, online: 100, provenOnline: 50, refereesOnline: 1 };
const strangers: Climate = { ...anchored, provenOnline: 0 };

/** The events of a step, by the contributor's name. */
function eventsOf(bench: UnitBench, step: Step, climate = anchored): Record<string, TrustEvent> {
  if (!step.ok) throw new Error(step.reason);
  const judged = judge(bench.unit, step, climate, rules, benchRules);
  bench.do(step);
  return Object.fromEntries(
    judged.map((j) => [Buffer.from(j.contributor.slice(2), 'hex').toString().slice(3), j.event]),
  );
}

/** Votes by name: the digest and the weight of each. */
function vote(votes: Record<string, [digest: string, weight: number]>, quorum = 2): UnitBench {
  const bench = new UnitBench();
  const names = Object.keys(votes);
  const plan = { target: names.length, quorum };
  for (const name of names) bench.lease(name, { weight: votes[name]?.[1] ?? 1, plan });
  for (const name of names) bench.commit(name);
  for (const name of names) bench.reveal(name, votes[name]?.[0] ?? '');
  return bench;
}

const accept = (bench: UnitBench) => consensus.accept(bench.unit, 1);

describe('acceptance', () => {
  test('one alone has nobody to confirm it', () => {
    const bench = vote({ a: ['x', 4] }, 1);
    expect(eventsOf(bench, accept(bench))).toEqual({ a: { type: 'agreed', by: null } });
  });

  test('a proven one confirms a newcomer; a newcomer confirms nobody while there are proven ones', () => {
    const bench = vote({ a: ['x', 1], p: ['x', 4] });
    expect(eventsOf(bench, accept(bench))).toEqual({
      a: { type: 'agreed', by: 'proven' },
      p: { type: 'agreed', by: null },
    });
  });

  test('strangers confirm each other: two where there is nobody better, three anywhere', () => {
    const pair = vote({ a: ['x', 1], b: ['x', 1] });
    const peer = { type: 'agreed', by: 'peer' };
    expect(eventsOf(pair, accept(pair), strangers)).toEqual({ a: peer, b: peer });
    const same = vote({ a: ['x', 1], b: ['x', 1] });
    expect(eventsOf(same, accept(same))).toMatchObject({ a: { by: null }, b: { by: null } });
    const three = vote({ a: ['x', 1], b: ['x', 1], c: ['x', 1] });
    expect(eventsOf(three, accept(three))).toMatchObject({ a: { by: 'peers' }, c: { by: 'peers' } });
  });

  test('a false result is proven weakly by newcomers, strongly by two proven ones or by five', () => {
    const proofs = (votes: Parameters<typeof vote>[0]) => {
      const bench = vote(votes);
      return eventsOf(bench, accept(bench))['liar'];
    };
    const rejected = (proof: string) => ({ type: 'rejected', proof });
    expect(proofs({ a: ['x', 1], b: ['x', 1], liar: ['y', 1] })).toEqual(rejected('weak'));
    expect(proofs({ a: ['x', 4], b: ['x', 1], liar: ['y', 1] })).toEqual(rejected('weak'));
    expect(proofs({ a: ['x', 4], b: ['x', 4], liar: ['y', 1] })).toEqual(rejected('strong'));
    const five = Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`n${n}`, ['x', 1] as [string, number]]));
    expect(proofs({ ...five, liar: ['y', 1] })).toEqual(rejected('strong'));
  });
});

describe('later', () => {
  const check = (bench: UnitBench, name: string, digest: string, more = {}, hints: Hints = {}) => {
    bench.lease(name, { weight: 4, ...more }).commit(name);
    return eventsOf(bench, consensus.reveal(bench.unit, id(name), digest, 20, benchRules, hints));
  };

  test('a check confirms both', () => {
    const bench = vote({ a: ['x', 4] }, 1).accept(1);
    expect(check(bench, 'b', 'x')).toEqual({
      a: { type: 'confirmed', by: 'proven' },
      b: { type: 'agreed', by: 'proven' },
    });
  });

  test('a referee overturns: the liar at once, the others when the right outputs are stored', () => {
    const bench = vote({ a: ['lie', 1], b: ['lie', 1], c: ['x', 1] }).accept(1);
    expect(check(bench, 'r', 'x', { referee: true })).toEqual({
      a: { type: 'overturned', proof: 'strong' },
      b: { type: 'overturned', proof: 'strong' },
    });
    expect(eventsOf(bench, consensus.accept(bench.unit))).toEqual({
      c: { type: 'exonerated', by: 'referee' },
      r: { type: 'agreed', by: null },
    });
  });

  test('who lies in a check is found out by the dispute', () => {
    const bench = vote({ a: ['x', 4] }, 1).accept(1);
    expect(check(bench, 'liar', 'lie')).toEqual({});
    check(bench, 'c', 'x');
    expect(check(bench, 'd', 'x')).toMatchObject({
      a: { type: 'confirmed' },
      liar: { type: 'rejected', proof: 'strong' },
      c: { type: 'agreed', by: 'proven' },
    });
  });

  test('silence, lateness and contradiction', () => {
    const bench = new UnitBench().lease('a').lease('b').lease('late', { duplicate: true });
    bench.commit('a').commit('b').reveal('a', 'x');
    expect(eventsOf(bench, consensus.tick(bench.unit, 200, benchRules))).toEqual({
      b: { type: 'withheld' },
      late: { type: 'lapsed' },
    });
    const two = new UnitBench().lease('a').commit('a');
    const step = consensus.equivocate(two.unit, id('a'), 'why', 20, benchRules);
    expect(eventsOf(two, step)).toEqual({ a: { type: 'equivocated' } });
  });
});
